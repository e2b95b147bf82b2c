"""Parallel speedups over launches, against one core and against one process on the same cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tnbench.reporting.context import Context
from tnbench.reporting.launches import Timing
from tnbench.reporting.points import Point
from tnbench.reporting.references import base_parallel, used_cores


@dataclass(frozen=True)
class Scaling:
    """How one point's training step scales; what was not measured, or not validly, is None with a `note`."""

    point: Point
    cores: int | None
    step_ms: Timing | None
    speedup: Timing | None
    same_cores: Timing | None
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
    found = [_scaling(point) for point in points if point.timing("step_ms") is not None]
    told = [scaling for scaling in found if scaling.speedup or scaling.note]
    families = (_apart_from_parallel(scaling.point) for scaling in told if scaling.note or not scaling.base)
    order = {family: index for index, family in enumerate(dict.fromkeys(families))}
    kept = [scaling for scaling in told if _apart_from_parallel(scaling.point) in order]
    return sorted(kept, key=lambda scaling: (order[_apart_from_parallel(scaling.point)], scaling.cores or 0))


def _apart_from_parallel(point: Point) -> tuple[Context, str, str]:
    return point.context.regardless_of("parallel"), point.method, point.rank


def _scaling(point: Point) -> Scaling:
    notes = dict.fromkeys(str(row["speedup_note"]) for row in point.ok if row["speedup_valid"] is False)
    return Scaling(
        point,
        used_cores(point.ok[0].record),
        point.timing("step_ms"),
        _speedup(point),
        point.timing("same_cores_ratio"),
        note="; ".join(notes),
    )


def _speedup(point: Point) -> Timing | None:
    """From the rows' speedups, each against the same seed; a case against itself has no interval."""
    found = point.timing("speedup")
    itself = point.context.parallel == base_parallel(point.ok[0].record)
    return found._replace(low=None, high=None) if found and itself else found
