"""Columns of a case that was spread over ranks or threads: speedups, efficiency, and what goes with communication."""

from __future__ import annotations

from tnbench.core.record import Record
from tnbench.measure.statistics import Estimate, median_interval, ratio_interval
from tnbench.reporting.amdahl import karp_flatt, scaled
from tnbench.reporting.references import is_weak, used_cores
from tnbench.reporting.times import ratio_of_times, samples_of, time_of

Columns = dict[str, float | None]


def parallel_columns(record: Record, one_core: Record | None) -> Columns:
    """Against one core; of a case whose batch grows with its ranks only the efficiency has a meaning."""
    found = told("decompose_speedup", _within_launch(record))
    ratio = ratio_of_times("step_ms", one_core, record) if one_core is not None else None
    if is_weak(record):
        return found | told("efficiency", ratio)
    cores = used_cores(record)
    found |= told("speedup", ratio)
    found |= told("infer_speedup", ratio_of_times("infer_ms", one_core, record) if one_core is not None else None)
    if ratio is not None and cores:
        found |= told("efficiency", scaled(ratio, 1 / cores))
        found["karp_flatt"] = karp_flatt(ratio.value, cores)
    return found


def _within_launch(record: Record) -> Estimate | None:
    """The decomposition by one rank alone over that by all: both are of this record."""
    names = ("decompose_alone_s", "decompose_spread_s")
    alone, spread = (samples_of(record, name) for name in names)
    return ratio_interval(alone, spread) if alone and spread and median_interval(spread).value > 0 else None


def comm_share(record: Record) -> Columns:
    """In percent, with the bootstrap interval of the medians' ratio; below 0 where noise is larger than the share."""
    steps, muted = (samples_of(record, name) for name in ("fixed_step_ms", "muted_step_ms"))
    if not (steps and muted and median_interval(steps).value > 0):
        return {}
    kept = ratio_interval(muted, steps)
    low, high = (None if end is None else 100 * (1 - end) for end in (kept.high, kept.low))
    return told("comm_share", Estimate(100 * (1 - kept.value), low, high, kept.n))


def over_predicted(record: Record) -> Columns:
    """How many times longer a step took than the cost model says."""
    measured, predicted = time_of("fixed_step_ms", record), record.metrics.get("predicted_step_ms")
    return {"measured_over_predicted": measured / predicted} if measured and predicted else {}


def told(name: str, estimate: Estimate | None) -> Columns:
    """A ratio's columns: its value and the ends of its interval."""
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
