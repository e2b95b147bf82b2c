"""The plan: which cases of a request run, which are done, which are skipped, and why. Making one writes nothing."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tnbench.core.case import Case
from tnbench.core.errors import PluginError, UsageError, unknown
from tnbench.core.grammar import AXES
from tnbench.core.job import Job
from tnbench.core.record import STATUSES, Record
from tnbench.core.registry import Registry
from tnbench.core.revision import Revision
from tnbench.core.settings import Limits, Settings, changed_limits, record_key
from tnbench.measure.environment import surroundings
from tnbench.measure.workers import workers_asked
from tnbench.store.records import Store
from tnbench.sweep.baselines import BaselineNode, Baselines
from tnbench.sweep.device import resolve_device
from tnbench.sweep.identity import Facts, Identity
from tnbench.sweep.names import check_case
from tnbench.sweep.select import Selection
from tnbench.sweep.skips import skip_record, why_skipped
from tnbench.sweep.standing import Wanted, alike, judge
from tnbench.sweep.suite import Cell, Suite, load_suite


@dataclass(frozen=True)
class Request:
    """What was asked for. With `cases`, only those are meant, under the suite's settings where there is a suite."""

    suite: str | None = None
    cases: tuple[str, ...] = ()
    select: str | None = None
    seeds: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    checkpoint_s: float | None = None
    fresh: bool = False
    rerun: tuple[str, ...] = ()
    launches: int | None = None
    data_root: Path = Path("data")
    results: Path = Path("results")


@dataclass(frozen=True)
class Entry:
    """One case of a plan. A case to run has a job, any other the record that stands for it.

    `baseline` is the key of the node of the plan that it waits for; empty where it needs none, or has it already.
    `launches` is how often it is to run, each time in a process of its own and with a record of its own.
    """

    case: Case
    key: str
    action: Literal["run", "done", "skip"]
    why: str
    job: Job | None = None
    record: Record | None = None
    identity: Identity = field(default_factory=dict)
    baseline: str = ""
    launches: int = 1


@dataclass(frozen=True)
class Plan:
    """Entries in the order of the suite, and the baselines that are to be trained for them."""

    name: str
    summary: str
    settings: Settings
    limits: Limits
    entries: tuple[Entry, ...]
    baselines: tuple[BaselineNode, ...]
    seen: frozenset[str] = frozenset()
    """Ids of the store's lines that the plan was made from: any other was written since."""
    cost: str = ""
    """What the suite says of its cost: that of all its cases."""
    whole: int = 0
    """How many cases there are with those that `--select` left out."""

    @property
    def device_model(self) -> str | None:
        """The name of the device that cases are to run on; None where none is to run or done."""
        return next((entry.identity["device_model"] for entry in self.entries if entry.identity), None)


def make_plan(request: Request, registry: Registry, store: Store) -> Plan:
    """Hold the request against the plug-ins, the data and the store. Raises UsageError for all that is wrong in it.

    So is a number of workers that is none, which would otherwise end the first case that reads pictures from files.
    """
    workers_asked()
    suite = _suite(request, registry)
    settings = suite.settings.changed(request.overrides)
    settings = settings.changed({"device": resolve_device(settings.device)})
    limits = changed_limits(suite.limits, request.timeout_s, request.checkpoint_s)
    for status in request.rerun:
        if status not in STATUSES:
            raise UsageError(f"--rerun: {unknown('status', status, STATUSES)}")
    if request.launches is not None and request.launches < 1:
        raise UsageError(f"--launches: got {request.launches}, wanted a number from 1 on")
    seen = frozenset(line.id for line in (*store.record_lines(), *store.baseline_lines()))
    planner = _Planner(request, registry, store, settings, limits)
    entries = tuple(planner.entry(cell) for cell in _selected(suite.cells, request.select, registry))
    nodes = tuple(planner.baselines.nodes.values())
    return Plan(suite.name, suite.summary, settings, limits, entries, nodes, seen, suite.cost, len(suite.cells))


def _suite(request: Request, registry: Registry) -> Suite:
    if request.suite is None and not request.cases:
        raise UsageError("got neither a suite nor a case, wanted one of them; give --suite or --case")
    if request.seeds is not None and request.seeds < 1:
        raise UsageError(f"--seeds: got {request.seeds}, wanted a number from 1 on")
    if request.seeds is not None and request.suite is None:
        raise UsageError("--seeds: it is for the products of a suite; a --case names its own seed, such as #0")
    if request.suite is None:
        suite = Suite("cases", "Single cases, asked for one by one.", Settings(), Limits(), ())
    else:
        suite = load_suite(request.suite, registry, seeds=request.seeds)
    return dataclasses.replace(suite, cells=_named(request.cases, suite, registry)) if request.cases else suite


def _named(texts: Sequence[str], suite: Suite, registry: Registry) -> tuple[Cell, ...]:
    known = {cell.case: cell for cell in suite.cells}
    cases = dict.fromkeys(Case.parse(text) for text in texts)
    for case in cases:
        check_case(case, registry)
    return tuple(known.get(case, Cell(case)) for case in cases)


def _selected(cells: Sequence[Cell], select: str | None, registry: Registry) -> list[Cell]:
    selection = Selection.parse(select, registry)
    cases = [cell.case for cell in cells]
    if selection.leaves_none(cases):
        raise UsageError(selection.why_empty(cases))
    return [cell for cell in cells if selection.matches(cell.case)]


class _Planner:
    """Makes entries one by one; `baselines` gathers what has to be trained for them."""

    def __init__(self, request: Request, registry: Registry, store: Store, settings: Settings, limits: Limits) -> None:
        self._request, self._registry, self._settings, self._limits = request, registry, settings, limits
        self._facts = Facts(registry, request.data_root, request.results, settings.device)
        self.baselines = Baselines(store, registry, self._facts, request.results, fresh=request.fresh)
        self._attempts = store.attempts()
        self._earlier: dict[str, list[Record]] = defaultdict(list)
        for line in store.record_lines():
            self._earlier[line.value.case].append(line.value)

    def entry(self, cell: Cell) -> Entry:
        case, reason = cell.case, why_skipped(cell)
        if reason:
            skipped = skip_record(case, reason, self._settings, self._limits)
            return Entry(case, skipped.key, "skip", reason, None, skipped)
        imported = self.baselines.imported(case)
        served = imported.identity if imported else None
        key, identity = record_key(case, self._settings, served), self._facts.identity(case, served)
        settings, request = self._settings.as_json(), self._request
        wanted = Wanted(key, settings, identity, self._limits, request.fresh, request.rerun)
        record, why = judge(self._earlier[case.id], wanted)
        had = self._launches(case, wanted)
        missing = (request.launches or 1) - had
        if record is not None and (request.launches is None or missing < 1 or record.status != "ok"):
            return Entry(case, key, "done", why, None, record, identity)
        if record is not None:
            why = f"{had} of {request.launches} launches at {self._revision}"
        return self._run(case, key, why, identity, max(missing, 1))

    def _launches(self, case: Case, wanted: Wanted) -> int:
        """How often the case was run well by the code as it is now; only counted where launches are asked for."""
        if self._request.launches is None or wanted.fresh:
            return 0
        good = [record for record in alike(self._earlier[case.id], wanted) if record.status == "ok"]
        return sum(Revision.of(record.provenance) == self._revision for record in good)

    @cached_property
    def _revision(self) -> Revision:
        return Revision.of(surroundings(self._settings.device))

    def _run(self, case: Case, key: str, why: str, identity: Identity, launches: int) -> Entry:
        self._check_options(case)
        roots, files = (self._request.data_root, self._request.results), self._registry.plugin_files
        job = Job(
            case,
            key,
            self._settings,
            self._limits,
            *roots,
            files,
            attempt=self._attempts[key] + 1,
            resumes=not self._request.fresh,
        )
        baseline, waits_for = self.baselines.serve(case, job)
        job = dataclasses.replace(job, baseline=baseline)
        return Entry(case, key, "run", why, job, None, identity, waits_for, launches)

    def _check_options(self, case: Case) -> None:
        """Raise UsageError for a wrong option. Only names with options are loaded: most plug-ins import torch."""
        for axis in AXES:
            for atom in case.atoms(axis):
                if atom.bare or atom.options:
                    with suppress(PluginError):  # the case runs, and fails with the reason
                        self._registry.bind(axis, atom)
