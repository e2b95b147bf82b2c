"""What asv is told of launches: which there are, where and at which commit they ran, and how their cases are called."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.revision import Revision
from tnbench.history.asv.benchmarks import BENCHMARKS
from tnbench.history.asv.machines import Facts, completed, machine_of
from tnbench.history.commits import Repository
from tnbench.reporting.context import Context, context_of, distinctions
from tnbench.store.records import Line

_MOST = 3
_METRICS = {benchmark.metric.name for benchmark in BENCHMARKS}


class Place(NamedTuple):
    """What one result file is about."""

    machine: str
    commit: str
    python: str

    @property
    def environment(self) -> str:
        """What asv calls the environment."""
        return f"records-py{self.python}"

    @property
    def file(self) -> Path:
        """Where asv looks for it in the folder of its results."""
        return Path(self.machine, f"{self.commit[:8]}-{self.environment}.json")


class Series(NamedTuple):
    """What is compared from commit to commit: a case with its seed, settings (as JSON), imported baseline and data.

    The device is no setting here: machines differ in it, and the same case on another one is the same series.
    """

    case: str
    settings: str
    baseline: str
    data: str


@dataclass(frozen=True)
class Launch:
    """A record as asv's files keep it; `id` and `at` are those of its line in the store."""

    id: str
    at: str
    place: Place
    series: Series
    status: str
    metrics: Mapping[str, float]


class Found(NamedTuple):
    """Launches at commits, what is known of their machines, and sentences about the records that are none."""

    launches: list[Launch]
    machines: dict[str, Facts]
    notes: list[str]


_CHANGED = "left out {records} of changed code ({code}), which no commit has; commit it and measure again"
_UNNAMED = "left out {records} without a commit ({code}); say which it is with --commit REV"
_UNKNOWN = "left out {records} at commits that {root} does not have ({code}); fetch them there"
_HOSTLESS = "left out {records} without a host ({code}), by an older tnbench; measure their cases again"


def found_in(lines: Iterable[Line], repository: Repository, unnamed: str | None) -> Found:
    """The launches at commits of `repository`; where records name none, `unnamed` says which it was (a full hash).

    Skipped and interrupted cases are no launches.
    """
    knows = cache(repository.knows)
    found, others = Found([], {}, []), defaultdict[str, list[Revision]](list)
    for line in lines:
        record: Record = line.value
        if record.status in ("skipped", "interrupted"):
            continue
        revision, machine = Revision.of(record.provenance), machine_of(record)
        commit = revision.commit or unnamed
        if machine is None:
            others[_HOSTLESS].append(revision)
        elif commit is None:
            others[_UNNAMED].append(revision)
        elif revision.dirty:
            others[_CHANGED].append(revision)
        elif not knows(commit):
            others[_UNKNOWN].append(revision)
        else:
            found.machines[machine.name] = completed(found.machines.get(machine.name, {}), machine.facts)
            found.launches.append(_launch(line, Place(machine.name, commit, _python(record))))
    found.notes.extend(_note(why, revisions, repository) for why, revisions in others.items())
    return found


def labels(launches: Iterable[Launch]) -> dict[Series, str]:
    """What asv calls each series: the case's id, and where that has several what tells them apart.

    A case that ended before its data were known belongs to the only series that it can be of.
    """
    alike: dict[str, list[Series]] = defaultdict(list)
    for series in sorted({launch.series for launch in launches}):
        alike[series.case].append(series)
    named: dict[Series, str] = {}
    for case, several in alike.items():
        homes = {series: _home(series, several) for series in several}
        own = distinctions(_context(home) for home in homes.values())
        for series, home in homes.items():
            telling = own[_context(home)]
            named[series] = f"{case} with {telling}" if telling else case
    return named


def in_order(names: Iterable[str]) -> list[str]:
    """Each once, as people sort them: ``svd/x4`` before ``svd/x16``."""

    def natural(name: str) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(set(names), key=natural)


def _home(series: Series, several: Sequence[Series]) -> Series:
    homes = [other for other in several if other.data and other._replace(data="") == series]
    return homes[0] if len(homes) == 1 else series


def _context(series: Series) -> Context:
    nowhere = dict.fromkeys(("model", "dataset", "training", "parallel", "device_model", "torch"), "")
    return Context(**nowhere, settings=series.settings, baseline=series.baseline, data=series.data, versions=())


def _launch(line: Line, place: Place) -> Launch:
    record: Record = line.value
    context = context_of(record, Case.parse(record.case))
    settings = {name: value for name, value in json.loads(context.settings).items() if name != "device"}
    series = Series(record.case, json.dumps(settings), context.baseline, context.data)
    measured = record.metrics if record.status == "ok" else {}
    metrics = {name: number for name, number in measured.items() if name in _METRICS}
    return Launch(line.id, line.at, place, series, record.status, metrics)


def _note(why: str, revisions: Sequence[Revision], repository: Repository) -> str:
    names = list(dict.fromkeys(map(str, revisions)))
    code = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
    records = "1 record" if len(revisions) == 1 else f"{len(revisions)} records"
    return why.format(records=records, code=code, root=repository.root)


def _python(record: Record) -> str:
    return ".".join(str(record.provenance.get("python") or "unknown").split(".")[:2])
