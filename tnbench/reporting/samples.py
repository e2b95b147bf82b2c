"""What a record knows of its timings, as other harnesses take it: raw samples in seconds, and plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tnbench.core.errors import NotApplicable, UsageError, unknown
from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.reporting.times import samples_of

TIMINGS: Mapping[str, str] = {"forward": "forward_ms", "decompose": "decompose_s", "step": "step_ms"}
"""The metric of each part of a case that `tnbench.stages.timings` lays out."""


def seconds_of(record: Record, timing: str) -> list[float]:
    """The samples of a timing: those of a step are the slowest rank's, of decomposing there is one.

    Raises NotApplicable where the case has nothing of the kind, UsageError for an unknown timing.
    """
    if timing not in TIMINGS:
        raise UsageError(unknown("timing", timing, TIMINGS))
    name = TIMINGS[timing]
    if name not in record.metrics:
        raise NotApplicable(f"{record.case} has no {name}: nothing of the kind is done in it")
    samples = samples_of(record, name) or [record.metrics[name]]
    scale = 1e-3 if METRICS[name].unit == "ms" else 1.0
    return [scale * sample for sample in samples]


def machine_of(record: Record) -> dict[str, str]:
    """The device and the torch that a record was measured with; empty where it does not say."""
    identity = record.provenance.get("identity") or {}
    return {name: str(identity.get(name) or "") for name in ("device_model", "torch")}


def facts_of(record: Record) -> dict[str, Any]:
    """Case, status, key and machine, and every metric by its name: texts and numbers only."""
    return {"case": record.case, "status": record.status, "key": record.key, **machine_of(record), **record.metrics}
