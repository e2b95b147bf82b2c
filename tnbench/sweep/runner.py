"""Running a plan: baselines and cases go one by one through an executor, and each one's record is kept at once."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tnbench.core.baseline import Baseline
from tnbench.core.errors import TnbenchError
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits
from tnbench.store.records import Store
from tnbench.sweep.baselines import BaselineNode
from tnbench.sweep.durations import Durations, Group, baseline_group, case_group
from tnbench.sweep.executors import Executor, Result
from tnbench.sweep.plan import Entry, Plan
from tnbench.sweep.recording import Execution, baseline_of, because_of, now, record_of
from tnbench.sweep.standing import Wanted, judge


class Listener(Protocol):
    """Hears of a run's progress. `done` and `total` count baselines and cases to run."""

    def planned(self, plan: Plan) -> None: ...
    def started(self, label: str, done: int, total: int, eta_s: float | None) -> None: ...
    def finished(self, record: Record) -> None: ...
    def closed(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """Records of the plan's cases in its order, and how many have no result for want of time.

    `cut` names the cases and baselines that were running when the time was up.
    """

    records: list[Record]
    interrupted: bool = False
    left: int = 0
    cut: tuple[str, ...] = ()


class Stages(NamedTuple):
    """The two calls that a run is made of; they cross to the executor's process by name."""

    baseline: Callable[[Job], Baseline]
    case: Callable[[Job], Record]


def _run_baseline(job: Job) -> Baseline:
    from tnbench.stages.baseline import run_baseline

    return run_baseline(job)


def _run_case(job: Job) -> Record:
    from tnbench.stages.case import run_case

    return run_case(job)


STAGES = Stages(_run_baseline, _run_case)


def run_plan(
    plan: Plan,
    *,
    store: Store,
    registry: Registry,
    executor: Executor,
    listener: Listener,
    max_time_s: float | None = None,
    stages: Stages = STAGES,
) -> Outcome:
    """Run what the plan says, appending each record as its case ends. An interrupt ends the run, not the process.

    After `max_time_s` seconds nothing runs any more. A case (or baseline) is not started when its last run, or the
    longest one like it, says that it will not end in time. One of which nothing is known is started, and recorded
    as interrupted when the time is up before its own limit is.

    Several processes may run the same plan on one results folder: what another has recorded since the plan was made
    is taken instead of run again. There is no lock, so two that start the same case at the same moment both run it.

    Raises UsageError, before anything is run, when the results folder cannot be written.
    """
    if any(entry.action == "run" for entry in plan.entries):
        store.check_writable()
    run = _Run(plan, store, registry, executor, listener, max_time_s, stages)
    listener.planned(plan)
    interrupted = False
    try:
        run.all_entries()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        listener.closed()
        executor.close()
    return Outcome(run.records(), interrupted, run.left, tuple(run.cut))


def _rounds(plan: Plan) -> Iterator[tuple[int, Entry, Job]]:
    """Every launch of every case to run, round by round, so that a slow spell of the machine falls on all alike."""
    todo = [(entry, entry.job) for entry in plan.entries if entry.job is not None]
    for launch in range(max((entry.launches for entry, _ in todo), default=0)):
        for entry, job in todo:
            if launch < entry.launches:
                yield launch, entry, dataclasses.replace(job, attempt=job.attempt + launch)


class _Run:
    """What one run of a plan keeps in mind while it goes on."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        registry: Registry,
        executor: Executor,
        listener: Listener,
        max_time_s: float | None,
        stages: Stages,
    ) -> None:
        self.left = 0
        self.cut: list[str] = []
        self._plan, self._store, self._registry = plan, store, registry
        self._executor, self._listener, self._stages = executor, listener, stages
        self._deadline = math.inf if max_time_s is None else time.monotonic() + max_time_s
        self._durations = Durations(store.records(), store.baselines(), plan.device_model)
        self._nodes = {node.key: node for node in plan.baselines}
        self._trained: dict[str, Baseline | Execution | None] = {}
        self._new: dict[str, Record] = {}
        self._todo = list(_rounds(plan))
        self._total, self._done = len(self._todo) + len(plan.baselines), 0

    def all_entries(self) -> None:
        before = 0
        for launch, entry, job in self._todo:
            if launch > before:  # a launch is a process of its own, and the executor may keep one for many cases
                self._executor.close()
                before = launch
            if self._ended_badly(entry) or self._taken(entry, job, launch):
                continue
            served = self._baseline(entry.baseline) if entry.baseline else job.baseline
            if isinstance(served, Execution):
                self._keep(entry, job, because_of(self._nodes[entry.baseline], served))
                self._done += 1
            elif entry.baseline and served is None:
                self.left += 1
            elif not self._taken(entry, job, launch):  # asked again, for a baseline takes its time
                self._case(entry, dataclasses.replace(job, baseline=served))

    def records(self) -> list[Record]:
        """In the plan's order, without the cases that were not reached."""
        found = [self._new.get(entry.key, entry.record) for entry in self._plan.entries]
        return [record for record in found if record is not None]

    def _ended_badly(self, entry: Entry) -> bool:
        """Whether an earlier launch of this run had no good end: another one would have none either."""
        ended = self._new.get(entry.key)
        hopeless = ended is not None and ended.status != "ok"
        self._done += hopeless
        return hopeless

    def _taken(self, entry: Entry, job: Job, launch: int) -> bool:
        """Whether another process has run this launch since the plan was made; its record then counts as ours."""
        lines = self._store.record_lines()
        since = [line.value for line in lines if line.value.key == entry.key and line.id not in self._plan.seen]
        if len(since) <= launch:  # these are our own earlier launches
            return False
        record = judge(since, Wanted(entry.key, job.settings.as_json(), entry.identity, job.limits)).record
        if record is None:
            return False
        self._done += 1
        self._new[entry.key] = record
        self._listener.finished(record)
        return True

    def _baseline(self, key: str) -> Baseline | Execution | None:
        """The baseline, trained when it is first asked for; how that failed; or None for want of time."""
        if key not in self._trained:
            node = self._nodes[key]
            self._trained[key] = self._trained_elsewhere(node) or self._train(node)
        return self._trained[key]

    def _trained_elsewhere(self, node: BaselineNode) -> Baseline | None:
        """The node's baseline, where another process has stored it since the plan was made."""
        lines = self._store.baseline_lines()
        since = [line.value for line in lines if line.value.key == node.key and line.id not in self._plan.seen]
        found = next((stored for stored in reversed(since) if not node.why_stale(stored)), None)
        self._done += found is not None
        return found

    def _train(self, node: BaselineNode) -> Baseline | Execution | None:
        job, group = node.job, baseline_group(node.job)
        if not self._fits(job.key, group):
            return None
        log = self._store.new_log(node.label, job.key, job.attempt)
        execution = self._execute(node.label, partial(self._stages.baseline, job), job.limits, log)
        if execution.result.status == "interrupted":
            return None
        if not execution.ok:
            return execution
        trained = baseline_of(node, execution)
        try:
            self._store.append_baseline(trained)
        except TnbenchError as error:
            return execution.ended_as("failed", str(error))
        self._durations.add(job.key, group, trained, execution.wall_s)
        return trained

    def _case(self, entry: Entry, job: Job) -> None:
        group = case_group(job)
        if not self._fits(entry.key, group):
            self.left += 1
            return
        log = self._store.new_log(job.case.id, job.key, job.attempt)
        started, begin = now(), time.monotonic()
        try:
            execution = self._execute(job.case.id, partial(self._stages.case, job), job.limits, log)
        except KeyboardInterrupt:
            interrupted = Result("interrupted", "by the keyboard or SIGTERM")
            self._keep(entry, job, Execution(interrupted, started, time.monotonic() - begin, log))
            raise
        if execution.ok:
            self._durations.add(entry.key, group, execution.result.value, execution.wall_s)
        self.left += execution.result.status == "interrupted"
        self._keep(entry, job, execution)

    def _fits(self, key: str, group: Group) -> bool:
        return time.monotonic() + (self._durations.expected(key, group) or 0.0) < self._deadline

    def _execute(self, label: str, call: Callable[[], Any], limits: Limits, log: Path) -> Execution:
        self._listener.started(label, self._done, self._total, self._durations.left(self._total - self._done))
        started, begin = now(), time.monotonic()
        limit = min(limits.timeout_s, max(self._deadline - begin, 1e-3))
        result = self._executor.execute(call, log=log, timeout_s=limit)
        execution = Execution(result, started, time.monotonic() - begin, log)
        self._done += 1
        if result.status == "timeout" and limit < limits.timeout_s:
            self.cut.append(label)
            return execution.ended_as("interrupted", f"by --max-time after {limit:.1f} s")
        return execution

    def _keep(self, entry: Entry, job: Job, execution: Execution) -> None:
        """Append the record at once. One that JSON cannot hold becomes a failed one that says so."""
        stamped = partial(record_of, job, identity=entry.identity, suite=self._plan.name, registry=self._registry)
        record = stamped(execution)
        try:
            self._store.append(record)
        except TnbenchError as error:
            record = stamped(execution.ended_as("failed", str(error)))
            self._store.append(record)
        self._new[entry.key] = record
        self._listener.finished(record)
