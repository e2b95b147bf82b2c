"""Parallel speedups over seeds, against one core and against one process on the same cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnbench.measure.statistics import Estimate
from tnbench.reporting.context import Context
from tnbench.reporting.points import Point, pooled_ratio
from tnbench.reporting.references import base_parallel, oversubscribed, used_cores
from tnbench.reporting.rows import Row


@dataclass(frozen=True)
class Scaling:
    """How one point's training step scales; what was not measured, or not validly, is None with a `note`."""

    point: Point
    cores: int | None
    step_ms: Estimate | None
    speedup: Estimate | None
    same_cores: Estimate | None
    note: str

    @property
    def parallel(self) -> str:
        return self.point.context.parallel

    @property
    def base(self) -> bool:
        """Whether this is the case that the speedups refer to."""
        return self.parallel == base_parallel(self.point.rows[0].record)

    @property
    def efficiency(self) -> float | None:
        return self.speedup.value / self.cores if self.speedup and self.cores else None


def make_scalings(points: Sequence[Point]) -> list[Scaling]:
    """The points timed beside their one-core case, and those that cannot count: case by case, by number of cores."""
    by_parallel = {(*_apart_from_parallel(point), point.context.parallel): point for point in points}
    found = [_scaling(point, by_parallel) for point in points if point.timing("step_ms") is not None]
    told = [scaling for scaling in found if scaling.speedup or scaling.note]
    families = (_apart_from_parallel(scaling.point) for scaling in told if scaling.note or not scaling.base)
    order = {family: index for index, family in enumerate(dict.fromkeys(families))}
    kept = [scaling for scaling in told if _apart_from_parallel(scaling.point) in order]
    return sorted(kept, key=lambda scaling: (order[_apart_from_parallel(scaling.point)], scaling.cores or 0))


def _apart_from_parallel(point: Point) -> tuple[Context, str, str]:
    return point.context.regardless_of("parallel"), point.method, point.rank


def _scaling(point: Point, by_parallel: dict[tuple[Context, str, str, str], Point]) -> Scaling:
    record = point.ok[0].record
    one_core = by_parallel.get((*_apart_from_parallel(point), base_parallel(record)))
    cores = used_cores(record)
    same = by_parallel.get((*_apart_from_parallel(point), f"threads:{cores}"))
    notes = dict.fromkeys(str(row["speedup_note"]) for row in point.ok if row["speedup_valid"] is False)
    return Scaling(
        point,
        cores,
        point.timing("step_ms"),
        _ratio(point, one_core, "speedup"),
        _ratio(point, same, "same_cores_ratio"),
        note="; ".join(notes),
    )


def _ratio(point: Point, base: Point | None, column: str) -> Estimate | None:
    """Base time ÷ own time over the seeds that have both; what the table leaves empty stays empty."""
    rows = [row for row in point.ok if row.number(column) is not None]
    if base is None or not rows:
        return None
    base_rows = {row.case.seed: row for row in base.ok if not oversubscribed(row.record)}
    pairs: list[tuple[Row, Row]] = [(base_rows[row.case.seed], row) for row in rows if row.case.seed in base_rows]
    if base is point:
        return Estimate(1.0, None, None, len(rows))
    if estimate := pooled_ratio(pairs, "step_ms"):
        return estimate
    mean = point.mean(column)
    return None if mean is None else Estimate(mean, None, None, len(rows))
