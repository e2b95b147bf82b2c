"""The records of a plan's cases, each case run when its record is first asked for and none exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import TnbenchError
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.store.records import Store
from tnbench.sweep.executors import Executor, Result
from tnbench.sweep.plan import Entry, Plan, Request
from tnbench.sweep.runner import STAGES, Listener, Stages, run_plan


class OnDemand:
    """Runs the cases of `plan`, made from `request`, one at a time; the store keeps what each gave, as in a whole run.

    The executor keeps its worker from case to case, until `close`.
    """

    def __init__(
        self,
        plan: Plan,
        request: Request,
        *,
        store: Store,
        registry: Registry,
        executor: Executor,
        listener: Listener,
        stages: Stages = STAGES,
    ) -> None:
        self._plan, self._request, self._stages = plan, request, stages
        self._store, self._registry, self._listener = store, registry, listener
        self._executor = _KeptOpen(executor)
        self._entries = {entry.case.id: entry for entry in plan.entries}
        self._untrained: dict[str, str] = {}

    @property
    def skips(self) -> dict[str, str]:
        """Why each case of the plan is not to be run, by its id; empty where it is."""
        return {entry.case.id: entry.why if entry.action == "skip" else "" for entry in self._plan.entries}

    def record(self, case: str) -> Record:
        """The record of a case of the plan, by its id: the one that stands, else what running it gives now.

        Raises KeyboardInterrupt when the run was interrupted, and TnbenchError for a baseline that failed before.
        """
        entry = self._entries[case]
        if entry.record is None:
            entry = self._entries[case] = dataclasses.replace(entry, record=self._run(entry), job=None)
        assert entry.record is not None, "a run gives one"
        return entry.record

    def job(self, record: Record) -> Job:
        """The job that gave `record`, so that its case can be laid out again.

        Raises TnbenchError when the baseline that it started from was taken back since.
        """
        case, request = Case.parse(record.case), self._request
        return Job(
            case,
            record.key,
            self._plan.settings,
            self._plan.limits,
            request.data_root,
            request.results,
            self._registry.plugin_files,
            baseline=self._baseline(record, case),
        )

    def close(self) -> None:
        """End the executor's worker."""
        self._executor.end()

    def _run(self, entry: Entry) -> Record:
        if entry.baseline in self._untrained:  # its other cases would train it again, to the same end
            raise TnbenchError(self._untrained[entry.baseline])
        needed = tuple(node for node in self._plan.baselines if node.key == entry.baseline)
        outcome = run_plan(
            dataclasses.replace(self._plan, entries=(entry,), baselines=needed),
            store=self._store,
            registry=self._registry,
            executor=self._executor,
            listener=self._listener,
            stages=self._stages,
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        (record,) = outcome.records
        if entry.baseline and not self._trained(entry.baseline):
            self._untrained[entry.baseline] = record.reason
        return record

    def _trained(self, key: str) -> bool:
        lines = self._store.baseline_lines()
        return any(line.value.key == key and line.id not in self._plan.seen for line in lines)

    def _baseline(self, record: Record, case: Case) -> Baseline | None:
        used = record.provenance.get("baseline")
        if used is None:
            return None
        for stored in reversed(self._store.baselines()):
            if (stored.digest, stored.model, stored.dataset) == (used["digest"], case.model, case.dataset):
                return stored
        raise TnbenchError(
            f"{record.case} started from baseline {used['digest'][:8]}, which was taken back since; take the record "
            f"back too (tnbench drop), so that the next run trains both"
        )


class _KeptOpen:
    """An executor that outlives a run: its worker has torch imported already and serves the next run too."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def execute(self, call: Callable[[], Any], *, log: Path, timeout_s: float) -> Result:
        return self._executor.execute(call, log=log, timeout_s=timeout_s)

    def close(self) -> None:
        """Leave it open."""

    def end(self) -> None:
        self._executor.close()
