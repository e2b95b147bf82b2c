"""asv's benchmarks: one for each metric of which less is better, with the case as its only parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asv_runner.statistics import compute_stats  # type: ignore[import-untyped]

from tnbench.core.metrics import METRICS, Metric

_STATISTICS = ("ci_99_a", "ci_99_b", "q_25", "q_75", "number", "repeat")
COLUMNS = ("result", "params", "version", *(f"stats_{name}" for name in _STATISTICS))
"""What a row of a result file holds, in this order. It has no samples: from six a side asv would hold a test against
them that no six pass (they reach p = 2/924 and it asks for 0.002); without them it compares the confidence intervals.
"""

_VERSION = "1"
"""asv compares no number with one of another version; raise it when `Benchmark.of` changes."""


def _missing(percent: float) -> float:
    return round(100 - percent, 9)  # 8.3, and not 8.299999999999997


_UNITS = {"s": ("seconds", 1.0), "ms": ("seconds", 1e-3), "byte": ("bytes", 1.0)}
_TURNED: dict[str, tuple[str, str, str, Callable[[float], float]]] = {
    "top1": ("top1_error", "%", "test pictures classified wrong right after training, at the last epoch", _missing),
    "top5": ("top5_error", "%", "test pictures whose label is not among the five best", _missing),
    "top1_before": ("top1_before_error", "%", "the same right after decomposition, before training", _missing),
    "throughput": (
        "picture_s",
        "seconds",
        "1 / throughput, the time for a picture at batch 128",
        lambda rate: 1 / rate,
    ),
    "train_pictures_per_s": (
        "train_picture_s",
        "seconds",
        "1 / train_pictures_per_s, the time for a picture in training",
        lambda rate: 1 / rate,
    ),
}
"""Metrics of which more is better, by what is less then: asv takes more for worse."""

Launched = Sequence[float] | None
"""What the good launches of a case measured, one number each; None where it was launched and ended badly."""


@dataclass(frozen=True)
class Benchmark:
    """A metric for asv. `of` turns its number into one in asv's `unit`, of which less is better."""

    name: str
    metric: Metric
    unit: str
    summary: str
    of: Callable[[float], float]

    def definition(self, cases: Sequence[str]) -> dict[str, Any]:
        """What ``benchmarks.json`` says of it."""
        return {
            "name": self.name,
            "pretty_name": self.summary,
            "code": f"{self.summary}\n\nthe median over the launches in a store of tnbench, one number each",
            "type": "time" if self.unit == "seconds" else "track",
            "unit": self.unit,
            "version": _VERSION,
            "param_names": ["case"],
            "params": [[repr(case) for case in cases]],
        }

    def row(self, cases: Sequence[str], launched: dict[str, Launched]) -> list[Any] | None:
        """The row of a result file by `COLUMNS`; None where no case was launched for it.

        A case without a number is NaN, which asv shows as n/a, and null where it ended badly. What scatters from
        launch to launch has asv's statistics over the launches: samples of one launch depend on each other.
        """
        found = [self._result(launched.get(case, ())) for case in cases]
        if all(value is not None and math.isnan(value) for value, _ in found):
            return None
        values, stats = zip(*found, strict=True)
        params = [[repr(case) for case in cases]]
        spread = [[each and each[name] for each in stats] for name in _STATISTICS] if any(stats) else []
        return [values, params, _VERSION, *spread]

    def _result(self, launched: Launched) -> tuple[float | None, dict[str, float] | None]:
        if launched is None:
            return None, None
        if not launched:
            return math.nan, None
        value, stats = compute_stats([self.of(number) for number in launched], 1)
        if self.metric.varies == "launch":
            return value, stats
        return (int(value) if value.is_integer() else value), None  # asv prints 9689728.0 as it is


def _benchmark(metric: Metric) -> Benchmark | None:
    if metric.derived or metric.better == "neither":
        return None
    if metric.better == "lower":
        unit, size = _UNITS.get(metric.unit, (metric.unit, 1.0))
        return Benchmark(f"records.{metric.name}", metric, unit, f"{metric.name}: {metric.summary}", lambda n: size * n)
    if metric.name not in _TURNED:
        return None
    name, unit, summary, of = _TURNED[metric.name]
    return Benchmark(f"records.{name}", metric, unit, f"{name}: {summary}", of)


BENCHMARKS = tuple(benchmark for benchmark in map(_benchmark, METRICS.values()) if benchmark)
