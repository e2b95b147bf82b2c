"""What a case's record depends on beside its key: data, plug-ins, device model, torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnbench.core.case import Case
from tnbench.core.errors import PluginError
from tnbench.core.grammar import AXES, Atom, parse_part
from tnbench.core.registry import Registry
from tnbench.measure.environment import device_model, torch_version
from tnbench.store.rank_tables import table_digest

Identity = dict[str, Any]

_TABLE = "table"
"""The rank policy whose ranks stand in a file of the results."""


class Facts:
    """Asks each question about data and plug-ins once for a whole plan."""

    def __init__(self, registry: Registry, data_root: Path, results: Path, device: str) -> None:
        self._registry = registry
        self._data_root, self._results = data_root, results
        self._machine = {"device_model": device_model(device), "torch": torch_version()}
        self._digests: dict[str, str | None] = {}
        self._plugins: dict[tuple[str, str], dict[str, Any]] = {}

    def identity(self, case: Case, imported: str | None) -> Identity:
        """As plain JSON: ``data``, ``plugins`` by axis, ``baseline`` (`identity` of an imported one), and the machine.

        The second plug-in of a mixture or mesh stands under ``method+2``, and so on; so does what a dry run is of.
        """
        plugins = {
            axis if place == 1 else f"{axis}+{place}": self.plugin(axis, atom)
            for axis in AXES
            for place, atom in enumerate([*case.atoms(axis), *_imitated(axis, case)], start=1)
        }
        found = {"data": self.data_digest(case.dataset), "plugins": plugins, "baseline": imported, **self._machine}
        (rank, *_) = case.atoms("rank")
        return {**found, "table": table_digest(self._results, *rank.bare)} if rank.name == _TABLE else found

    def plugin(self, axis: str, atom: Atom) -> dict[str, Any]:
        """Name, version and source digest of the plug-in that serves `atom`."""
        asked = axis, atom.name
        if asked not in self._plugins:
            found = self._registry.find(axis, atom.name)
            source = "" if found.broken else found.source_digest()
            self._plugins[asked] = {"name": found.name, "version": found.version, "source": source}
        return self._plugins[asked]

    def versions(self, case: Case, axes: tuple[str, ...]) -> dict[str, int]:
        """The plug-ins' versions on some axes."""
        return {axis: self.plugin(axis, case.atoms(axis)[0])["version"] for axis in axes}

    def data_digest(self, dataset: str) -> str | None:
        """None for a broken plug-in, whose cases fail when they run. Raises UsageError for absent files."""
        if dataset not in self._digests:
            self._digests[dataset] = self._digest(dataset)
        return self._digests[dataset]

    def _digest(self, dataset: str) -> str | None:
        try:
            bound = self._registry.bind("dataset", parse_part("dataset", dataset)[0])
        except PluginError:
            return None
        return str(bound.module.digest(bound.atom.name, bound.options, self._data_root))


def _imitated(axis: str, case: Case) -> list[Atom]:
    """The plug-ins whose sending is counted by another one: ``dryrun[of=rank_tp]:64`` depends on ``rank_tp``."""
    if axis != "parallel":
        return []
    return [Atom(value) for atom in case.atoms(axis) for name, value in atom.options if name == "of"]


_COMPARED = (
    ("data", "the data's digest"),
    ("table", "the rank table"),
    ("device_model", "the device"),
    ("torch", "torch"),
)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why a record with the identity `then` does not stand for a case that has `now`; empty if it does."""
    found = [
        f"{what} differs: {then.get(name)} → {now[name]}" for name, what in _COMPARED if then.get(name) != now.get(name)
    ]
    before = then.get("plugins") or {}
    for axis, plugin in now["plugins"].items():
        old = before.get(axis) or {}
        if (old.get("name"), old.get("version")) != (plugin["name"], plugin["version"]):
            found.append(f"plug-in {plugin['name']}: version {old.get('version')} → {plugin['version']}")
    return found


def changed_sources(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of plug-ins whose source changed since, though their version did not."""
    before = then.get("plugins") or {}
    return [
        plugin["name"]
        for axis, plugin in now["plugins"].items()
        if (before.get(axis) or {}).get("source") != plugin["source"]
    ]
