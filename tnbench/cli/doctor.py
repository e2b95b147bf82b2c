"""``tnbench doctor``: what is here, and what is broken."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from tnbench.cli.data import state
from tnbench.cli.options import DATA_ROOT, RESULTS, DataRoot, Plugins, Results
from tnbench.cli.terminal import counted, stdout
from tnbench.core.conformance import check_complete
from tnbench.core.errors import PluginError
from tnbench.core.registry import KINDS, Listing, Registry


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was seen, and whether something has to be mended."""

    about: str
    seen: str
    broken: bool = False


def doctor(results: Results = RESULTS, data_root: DataRoot = DATA_ROOT, plugin: Plugins = None) -> None:
    """Look at versions, devices, plug-ins, data sets and the results folder. Exit code 1 if something is broken."""
    registry = Registry(plugin or ())
    console, broken = stdout(), 0
    for check in (_machine(), _plugins(registry), _data(data_root, registry), _store(results)):
        for finding in check:
            broken += finding.broken
            mark, style = ("broken", "red") if finding.broken else ("ok", "")
            console.print(f"{mark:<7} {finding.about:<12} {finding.seen}", style=style, soft_wrap=True)
    raise typer.Exit(1 if broken else 0)


def _machine() -> Iterator[Finding]:
    import torch

    from tnbench import __version__
    from tnbench.measure.environment import device_model, provenance, usable_cores

    yield Finding("tnbench", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    for name, version in provenance("cpu")["versions"].items():
        if name != "tnbench":
            yield Finding(name, version, broken=version == "absent")
    yield Finding("processor", f"{device_model('cpu')}, {usable_cores()} usable cores (affinity and cgroup quota)")
    devices = [f"cuda:{index} {device_model(f'cuda:{index}')}" for index in range(torch.cuda.device_count())]
    yield Finding("gpu", ", ".join(devices) or "none")


def _plugins(registry: Registry) -> Iterator[Finding]:
    for kind, folder in KINDS.items():
        files = {listing.path: listing for listing in registry.listings(kind)}
        problems = [problem for listing in files.values() if (problem := _problem(listing, registry))]
        yield Finding(folder, f"{len(files) - len(problems)} of {counted(len(files), 'plug-in file')} load")
        for problem in problems:
            yield Finding(folder, problem, broken=True)


def _problem(listing: Listing, registry: Registry) -> str:
    try:
        check_complete(listing, registry.load(listing))
    except PluginError as error:
        return str(error)
    return ""


def _data(root: Path, registry: Registry) -> Iterator[Finding]:
    for listing in registry.listings("dataset"):
        found = state(listing.name, root, registry)
        broken = not found["there"] and not found["missing"]
        yield Finding("data", f"{listing.name}: {found['summary']}", broken)


def _store(results: Path) -> Iterator[Finding]:
    from tnbench.store.checkpoints import checkpoint_path
    from tnbench.store.records import Store

    store = Store(results)
    yield Finding(
        "results",
        f"{counted(len(store.records()), 'record')}, {counted(len(store.baselines()), 'baseline')} in {results}",
    )
    for sentence in store.damaged():
        yield Finding("results", sentence, broken=True)
    for baseline in store.baselines():
        file = checkpoint_path(results, baseline.digest)
        if not file.is_file():
            of = f"{baseline.model} on {baseline.dataset}"
            yield Finding(
                "results", f"the checkpoint of {of} is missing: {file}; the next run trains it again", broken=True
            )
