"""The files that asv reads results from, written from the store, and kept beside those of asv's own runs.

All that asv reads of ours is worked out anew each time, from the launches of all our files together: each has to list
every case, for one that is missing from a list reads as failed.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.history.asv.benchmarks import BENCHMARKS, COLUMNS, Benchmark, Launched
from tnbench.history.asv.kept import KEY, Kept, read_json, read_kept, to_keep
from tnbench.history.asv.launches import Found, Launch, Place, Series, in_order, labels
from tnbench.history.asv.machines import Facts, completed
from tnbench.history.commits import Repository

_AGAIN = "delete it, and let asv write it again: asv run --bench just-discover"
_MACHINE_API, _BENCHMARKS_API, _RESULTS_API = 1, 2, 2


class Exported(NamedTuple):
    """How much of ours a folder of results holds."""

    commits: int
    machines: int
    benchmarks: int
    cases: int


def export(found: Found, dropped: Collection[str], repository: Repository, folder: Path) -> Exported:
    """Add launches to asv's results in `folder`, take back those whose ids are `dropped`, leave all else as it is.

    Before anything is written raises TnbenchError for files there that cannot be read, and UsageError where no launch
    measured anything.
    """
    kept = read_kept(folder)
    kept.launches |= {launch.id: launch for launch in found.launches}
    kept.launches = {id: launch for id, launch in kept.launches.items() if id not in dropped}
    for name, facts in found.machines.items():
        kept.machines[name] = completed(kept.machines.get(name, {}), facts)
    for commit in {launch.place.commit for launch in found.launches}:
        kept.dates[commit] = 1000 * repository.date(commit)  # the author's, as asv has it
    if not any(launch.metrics for launch in kept.launches.values()):
        raise UsageError(
            "export asv: no launch ended well, and asv shows a failure only beside numbers; "
            "see why they failed with: tnbench show CASE"
        )
    return _write_all(kept, folder)


def restore(folder: Path) -> None:
    """Put our benchmarks back into ``benchmarks.json``, which `asv run` writes with its own alone.

    Raises TnbenchError, before anything is written, for files there that cannot be read.
    """
    kept = read_kept(folder)
    if kept.files:
        _write_all(kept, folder)


def _write_all(kept: Kept, folder: Path) -> Exported:
    named, places = labels(kept.launches.values()), _by_place(kept.launches.values())
    listed = {benchmark: _cases(benchmark, kept.launches.values(), named) for benchmark in BENCHMARKS}
    listed = {benchmark: cases for benchmark, cases in listed.items() if cases}
    machines = {place.machine: kept.machines[place.machine] for place in places}
    contents: dict[Path, str] = {}
    for place, launches in places.items():
        rows = _rows(launches, named, listed)
        content = _results(place, kept.dates[place.commit], machines[place.machine], rows)
        contents[folder / place.file] = json.dumps({**content, KEY: to_keep(launches)})
    for name, facts in machines.items():
        contents[folder / name / "machine.json"] = _legible({**facts, "version": _MACHINE_API})
    definitions = folder / "benchmarks.json"
    contents[definitions] = _legible(_definitions(definitions, listed))
    for file, text in contents.items():
        _write(file, text)
    for file in kept.files - set(contents):
        file.unlink()
    commits = {place.commit for place in places}
    return Exported(len(commits), len(machines), len(listed), len(set(named.values())))


def _by_place(launches: Iterable[Launch]) -> dict[Place, list[Launch]]:
    """Oldest first."""
    places: dict[Place, list[Launch]] = defaultdict(list)
    for launch in sorted(launches, key=lambda launch: (launch.at, launch.id)):
        places[launch.place].append(launch)
    return dict(places)


def _cases(benchmark: Benchmark, launches: Collection[Launch], named: Mapping[Series, str]) -> list[str]:
    """The names of the cases that have its number somewhere, and of those that never ended well; none without any."""
    measured = {named[launch.series] for launch in launches if benchmark.metric.name in launch.metrics}
    ended_well = {named[launch.series] for launch in launches if launch.status == "ok"}
    never = {named[launch.series] for launch in launches} - ended_well
    return in_order(measured | never) if measured else []


def _rows(
    launches: Iterable[Launch], named: Mapping[Series, str], listed: Mapping[Benchmark, list[str]]
) -> dict[str, list[Any]]:
    by_name: dict[str, list[Launch]] = defaultdict(list)
    for launch in launches:
        by_name[named[launch.series]].append(launch)
    rows = {}
    for benchmark, cases in listed.items():
        launched = {name: _launched(benchmark, each) for name, each in by_name.items()}
        if row := benchmark.row(cases, launched):
            rows[benchmark.name] = row
    return rows


def _launched(benchmark: Benchmark, launches: Iterable[Launch]) -> Launched:
    good = [launch.metrics for launch in launches if launch.status == "ok"]
    numbers = [metrics[benchmark.metric.name] for metrics in good if benchmark.metric.name in metrics]
    return numbers if good else None


def _results(place: Place, date: int, machine: Facts, rows: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What asv reads of a result file."""
    return {
        "commit_hash": place.commit,
        "env_name": place.environment,
        "date": date,
        "params": {**machine, "python": place.python},
        "python": place.python,
        "requirements": {},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": rows,
        "durations": {},
        "version": _RESULTS_API,
    }


def _definitions(file: Path, listed: Mapping[Benchmark, list[str]]) -> dict[str, Any]:
    """What ``benchmarks.json`` is to hold: asv's own benchmarks as they are, and ours."""
    there = read_json(file, _AGAIN) if file.exists() else {"version": _BENCHMARKS_API}
    if there.get("version") != _BENCHMARKS_API:
        raise TnbenchError(
            f"{file}: got benchmarks of version {there.get('version')}, wanted {_BENCHMARKS_API}, "
            f"as asv 0.6 writes them; bring it up to date with: asv update"
        )
    ours = {benchmark.name for benchmark in BENCHMARKS}
    others = {name: value for name, value in there.items() if name not in ours}
    return others | {benchmark.name: benchmark.definition(cases) for benchmark, cases in listed.items()}


def _legible(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=4, sort_keys=True)


def _write(file: Path, text: str) -> None:
    """Replace a file by a finished one; one that is the same already is left alone."""
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
