"""From how a call ended to the record that is kept of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tnbench.core.baseline import Baseline
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.measure.environment import surroundings
from tnbench.sweep.baselines import BaselineNode
from tnbench.sweep.command import reproducing_command
from tnbench.sweep.executors import Result
from tnbench.sweep.identity import Identity


@dataclass(frozen=True)
class Execution:
    """A call's result, when it began, how long it took by the wall clock, and where its output is."""

    result: Result
    started: str
    wall_s: float
    log: Path

    @property
    def ok(self) -> bool:
        return self.result.status == "ok"

    def ended_as(self, status: str, reason: str) -> Execution:
        """The same execution, told otherwise."""
        return dataclasses.replace(self, result=Result(status, reason))


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_of(job: Job, execution: Execution, *, identity: Identity, suite: str, registry: Registry) -> Record:
    """What the case measured, or that it measured nothing and why, with where it comes from."""
    record = execution.result.value if execution.ok else _unmeasured(job, execution)
    provenance = {
        **record.provenance,
        "identity": identity,
        "suite": suite,
        "attempt": job.attempt,
        "wall_s": execution.wall_s,
        "log": _relative(execution.log, job),
        "command": reproducing_command(job, registry),
    }
    return dataclasses.replace(record, provenance=provenance)


def baseline_of(node: BaselineNode, execution: Execution) -> Baseline:
    """The trained baseline, with the versions that the plan will ask for and where it comes from."""
    trained: Baseline = execution.result.value
    facts = {**trained.provenance, "wall_s": execution.wall_s, "log": _relative(execution.log, node.job)}
    return dataclasses.replace(trained, versions=dict(node.versions), provenance=facts)


def because_of(node: BaselineNode, execution: Execution) -> Execution:
    """A case whose baseline failed ends as that did, so that what mends the one (a higher limit) reruns the other."""
    result = execution.result
    return execution.ended_as(result.status, f"its {node.label} ended as {result.status}: {result.reason}")


def _unmeasured(job: Job, execution: Execution) -> Record:
    return Record(
        job.case.id,
        job.key,
        execution.result.status,
        execution.result.reason,
        samples={"loss": list(execution.result.loss)} if execution.result.loss else {},
        settings=job.settings.as_json(),
        limits=dataclasses.asdict(job.limits),
        provenance={"started": execution.started, **surroundings(job.settings.device)},
    )


def _relative(log: Path, job: Job) -> str:
    return str(log.relative_to(job.results))
