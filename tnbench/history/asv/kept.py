"""What our own result files keep beside what asv reads: their launches, whole, under a key that asv passes over."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnbench.core.errors import TnbenchError
from tnbench.history.asv.launches import Launch, Place, Series
from tnbench.history.asv.machines import Facts, completed

KEY = "tnbench"
_SCHEMA = 1
_OF_LAUNCH = ("id", "at", "status", "metrics")
_NO_FACTS = ("machine", "python", "version")


@dataclass
class Kept:
    """What our files in a folder hold: launches by their id, machines by name, commits with their dates in ms."""

    launches: dict[str, Launch] = field(default_factory=dict)
    machines: dict[str, Facts] = field(default_factory=dict)
    dates: dict[str, int] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)


def read_kept(folder: Path) -> Kept:
    """Everything that is kept in a folder of asv's results. Raises TnbenchError for a file that cannot be read."""
    kept = Kept()
    for file in sorted(folder.glob("*/*-records-py*.json")):
        content = read_json(file)
        if KEY in content:
            try:
                _take(kept, file, content)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise TnbenchError(
                    f"{file} is not as tnbench export asv writes it ({type(error).__name__}: {error}); "
                    f"delete it, and export again"
                ) from None
    return kept


def to_keep(launches: Iterable[Launch]) -> dict[str, Any]:
    """The value of `KEY` in the result file of these launches, in their order."""
    by_series: dict[Series, list[Launch]] = defaultdict(list)
    for launch in launches:
        by_series[launch.series].append(launch)
    return {"schema": _SCHEMA, "series": [_of_series(*each) for each in sorted(by_series.items())]}


def read_json(file: Path, mend: str = "mend or delete it, and export again") -> dict[str, Any]:
    """A JSON object. Raises TnbenchError for anything else, which says how to `mend` it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TnbenchError(f"{file} cannot be read ({error}); {mend}") from None
    if not isinstance(content, dict):
        raise TnbenchError(f"{file} holds no JSON object; {mend}")
    return content


def _take(kept: Kept, file: Path, content: Mapping[str, Any]) -> None:
    ours = content[KEY]
    if ours["schema"] != _SCHEMA:
        raise TnbenchError(
            f"{file}: got launches of schema {ours['schema']}, this tnbench reads {_SCHEMA}; "
            f"a newer tnbench wrote it, so update tnbench to read it"
        )
    place = Place(content["params"]["machine"], content["commit_hash"], content["python"])
    for each in ours["series"]:
        series = Series(each["case"], json.dumps(each["settings"], sort_keys=True), each["baseline"], each["data"])
        for launch in each["launches"]:
            known = {name: launch[name] for name in _OF_LAUNCH}
            kept.launches[launch["id"]] = Launch(place=place, series=series, **known)
    facts = completed({**kept.machines.get(place.machine, {}), **_facts(content["params"])}, _on_disk(file.parent))
    kept.machines[place.machine] = {**facts, "machine": place.machine}
    kept.dates[place.commit] = int(content["date"])
    kept.files.add(file)


def _on_disk(folder: Path) -> Facts:
    """What ``machine.json`` says: somebody may have filled in what records do not know."""
    file = folder / "machine.json"
    return _facts(read_json(file)) if file.exists() else {}


def _facts(content: Mapping[str, Any]) -> Facts:
    return {name: str(value) for name, value in content.items() if name not in _NO_FACTS}


def _of_series(series: Series, launches: Iterable[Launch]) -> dict[str, Any]:
    kept = [{name: getattr(launch, name) for name in _OF_LAUNCH} for launch in launches]
    return {**series._asdict(), "settings": json.loads(series.settings), "launches": kept}
