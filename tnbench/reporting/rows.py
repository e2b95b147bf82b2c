"""One row of plain values per record: what is stored, and what follows from it by comparing and counting."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tnbench.core.case import Case
from tnbench.core.grammar import AXES
from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.core.settings import Settings
from tnbench.measure.statistics import median_interval
from tnbench.reporting.budget import budget_gap
from tnbench.reporting.learning import time_to_accuracy
from tnbench.reporting.parallel_columns import comm_share, over_predicted, parallel_columns, told
from tnbench.reporting.references import References, base_parallel, oversubscribed
from tnbench.reporting.times import ratio_of_times, samples_of, time_of

SAMPLED = ("forward_ms", "throughput", "epoch_s", "step_ms", "fixed_step_ms", "muted_step_ms", "infer_ms")
RATIOS = (
    *("algorithmic_speedup", "algorithmic_step_speedup", "speedup", "efficiency", "same_cores_ratio"),
    *("infer_speedup", "decompose_speedup", "comm_share"),
)
_OVERSUBSCRIBED = "measured with more threads than cores: not valid for speedup"
_FACTS = ("device_model", "torch", "host", "started", "attempt", "oversubscribed", "notes", "log", "command")

Value = str | float | int | bool | None


@dataclass(frozen=True)
class Row:
    """A record with its case and its columns; a value that is missing is None."""

    record: Record
    case: Case
    values: Mapping[str, Value]

    def __getitem__(self, column: str) -> Value:
        return self.values[column]

    def number(self, column: str) -> float | None:
        """A column as a number; None where it is missing or no number."""
        value = self.values.get(column)
        return float(value) if isinstance(value, int | float) else None

    @property
    def ok(self) -> bool:
        return self.record.status == "ok"


def make_rows(records: Sequence[Record]) -> list[Row]:
    """The rows, in the records' order, all with the same columns (`columns_of`)."""
    entries = [(record, Case.parse(record.case)) for record in records]
    references, columns = References(entries), columns_of(records)
    return [Row(record, case, _values(record, case, references, columns)) for record, case in entries]


def columns_of(records: Sequence[Record]) -> list[str]:
    """Every column's name. The order stands; settings and metrics that only some records know come last of theirs."""
    settings = [field.name for field in dataclasses.fields(Settings)]
    settings += sorted({name for record in records for name in record.settings} - set(settings))
    metrics = [*METRICS, *sorted({name for record in records for name in record.metrics} - set(METRICS))]
    return [
        *(*AXES, "seed", "status", "reason", "case", "key"),
        *(f"set_{name}" for name in settings),
        *metrics,
        *(f"{name}_{end}" for name in SAMPLED for end in ("low", "high", "n")),
        *(f"{name}_{end}" for name in RATIOS for end in ("low", "high")),
        *("speedup_valid", "speedup_note"),
        *_FACTS,
    ]


def _values(record: Record, case: Case, references: References, columns: Sequence[str]) -> dict[str, Value]:
    known: dict[str, Any] = {
        **{axis: case.part(axis) for axis in AXES},
        **{name: getattr(record, name) for name in ("status", "reason", "case", "key")},
        "seed": case.seed,
        **{f"set_{name}": value for name, value in record.settings.items()},
        **record.metrics,
        **_timings(record),
        **_counted(record.metrics),
        **_gap(record.metrics),
        "budget_gap": budget_gap(case, record.metrics),
        **comm_share(record),
        **over_predicted(record),
        **(_compared(record, case, references) if record.status == "ok" else {}),
        **_facts(record),
    }
    return {column: _plain(known.get(column)) for column in columns}


def _timings(record: Record) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name in SAMPLED:
        samples = samples_of(record, name)
        if samples:
            value, low, high, n = median_interval(samples)
            found |= {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_n": n}
    return found


def _counted(metrics: Mapping[str, float]) -> dict[str, Value]:
    parts = {
        "compression": ("params_dense", "params"),
        "compression_layers": ("params_layers_dense", "params_layers"),
        "mac_reduction": ("macs_dense", "macs"),
    }
    return {
        name: metrics[above] / metrics[below]
        for name, (above, below) in parts.items()
        if above in metrics and metrics.get(below)
    }


def _gap(metrics: Mapping[str, float]) -> dict[str, Value]:
    if "top1_train" not in metrics or "top1" not in metrics:
        return {}
    return {"generalisation_gap": metrics["top1_train"] - metrics["top1"]}


def _compared(record: Record, case: Case, references: References) -> dict[str, Value]:
    dense = references.dense(record, case)
    return {
        **_drop(record, dense),
        "time_to_acc_s": time_to_accuracy(record, dense),
        **(_speedups(record, case, references) if not oversubscribed(record) else {}),
        **_judged(record, references.one_core(record, case)),
    }


def _drop(record: Record, dense: Record | None) -> dict[str, Value]:
    if dense is None or "top1" not in dense.metrics or "top1" not in record.metrics:
        return {}
    return {"drop": dense.metrics["top1"] - record.metrics["top1"]}


def _speedups(record: Record, case: Case, references: References) -> dict[str, Value]:
    pairs = {
        "algorithmic_speedup": ("forward_ms", references.dense_forward(record, case)),
        "algorithmic_step_speedup": ("step_ms", references.dense_step(record, case)),
        "same_cores_ratio": ("step_ms", references.same_cores(record, case)),
    }
    found: dict[str, Value] = {}
    for name, (timing, base) in pairs.items():
        found |= told(name, ratio_of_times(timing, base, record) if base is not None else None)
    return found | parallel_columns(record, references.one_core(record, case))


def _judged(record: Record, base: Record | None) -> dict[str, Value]:
    if oversubscribed(record):
        return {"speedup_valid": False, "speedup_note": _OVERSUBSCRIBED}
    if time_of("step_ms", record) is None:
        return {}
    if base is None:
        return {"speedup_note": f"nothing to compare with: no valid record of this case with {base_parallel(record)}"}
    return {"speedup_valid": True}


def _facts(record: Record) -> dict[str, Any]:
    identity = record.provenance.get("identity") or {}
    facts = {name: record.provenance.get(name) for name in _FACTS}
    return {
        **facts,
        "device_model": identity.get("device_model"),
        "torch": identity.get("torch"),
        "notes": "; ".join(record.notes),
    }


def _plain(value: Any) -> Value:
    """The value as one of a table's; numbers that are not finite are missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)
