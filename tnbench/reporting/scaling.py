"""How points scale over ranks and threads: steps, inference and decompositions, what is sent, and what a model says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tnbench.core.grammar import parse_part
from tnbench.reporting.amdahl import karp_flatt
from tnbench.reporting.context import Context
from tnbench.reporting.launches import Timing
from tnbench.reporting.points import Point
from tnbench.reporting.references import base_parallel, is_weak, used_cores

BUSY = 90.0
"""Per cent of its cores below which a rank that waits for nobody has shared them with others."""

Family = tuple[Context, str, str]
"""A context whose parallel axis is left open, a method and a rank."""


@dataclass(frozen=True)
class Scaling:
    """How one point's training step scales; what was not measured, or not validly, is None with a `note`.

    Where a batch grows with the ranks (`weak`) there is an `efficiency` and no `speedup`.
    """

    point: Point
    cores: int | None
    step_ms: Timing | None
    speedup: Timing | None
    efficiency_of: Timing | None
    same_cores: Timing | None
    note: str

    @property
    def family(self) -> Family:
        """What it shares with the cases that differ in how they are spread alone."""
        return self.point.context.regardless_of("parallel"), self.point.method, self.point.rank

    @property
    def parallel(self) -> str:
        return self.point.context.parallel

    @property
    def base(self) -> bool:
        """Whether this is the case that the speedups refer to."""
        return self.parallel == base_parallel(self.point.rows[0].record)

    @property
    def ranks(self) -> int:
        """What the parallel axis counts: processes, or threads."""
        atoms = parse_part("parallel", self.parallel)
        return math.prod(atom.count or 1 for atom in atoms)

    @property
    def weak(self) -> bool:
        return is_weak(self.point.rows[0].record)

    @property
    def efficiency(self) -> float | None:
        if self.weak:
            return self.efficiency_of.value if self.efficiency_of else None
        return self.speedup.value / self.cores if self.speedup and self.cores else None

    @property
    def karp_flatt(self) -> float | None:
        """Of the speedup over all launches."""
        return karp_flatt(self.speedup.value, self.cores) if self.speedup and self.cores else None

    @property
    def infer_speedup(self) -> Timing | None:
        return None if self.note else _against_itself(self.point, "infer_speedup")

    @property
    def decompose_speedup(self) -> Timing | None:
        return None if self.note else self.point.timing("decompose_speedup")

    @property
    def core_share(self) -> float | None:
        """Per cent of its cores that a rank got, in the launch where it got least."""
        found = [share for row in self.point.ok if (share := row.number("core_share")) is not None]
        return min(found, default=None)

    @property
    def busy(self) -> bool:
        """Whether others used the machine."""
        return self.core_share is not None and self.core_share < BUSY

    @property
    def comm_share(self) -> Timing | None:
        """In percent: the mean over launches with a t-interval, or the only launch's own interval."""
        found = self.point.over_seeds("comm_share")
        if found is None:
            return None
        if found.n > 1:
            return Timing(*found)
        (row,) = (row for row in self.point.ok if row.number("comm_share") is not None)
        return Timing(found.value, row.number("comm_share_low"), row.number("comm_share_high"), launches=1)


def make_scalings(points: Sequence[Point]) -> list[Scaling]:
    """The points timed beside their one-core case, and those that cannot count: case by case, by number of cores."""
    found = [_scaling(point) for point in points if point.timing("step_ms") is not None]
    told = [scaling for scaling in found if scaling.efficiency_of or scaling.speedup or scaling.note]
    families = (scaling.family for scaling in told if scaling.note or not scaling.base)
    order = {family: index for index, family in enumerate(dict.fromkeys(families))}
    kept = [scaling for scaling in told if scaling.family in order]
    return sorted(kept, key=lambda scaling: (order[scaling.family], scaling.cores or 0))


def _scaling(point: Point) -> Scaling:
    notes = dict.fromkeys(str(row["speedup_note"]) for row in point.ok if row["speedup_valid"] is False)
    return Scaling(
        point,
        used_cores(point.ok[0].record),
        point.timing("step_ms"),
        _against_itself(point, "speedup"),
        _against_itself(point, "efficiency"),
        point.timing("same_cores_ratio"),
        note="; ".join(notes),
    )


def _against_itself(point: Point, column: str) -> Timing | None:
    """From the rows' ratios, each against the same seed; a case against itself has no interval."""
    found = point.timing(column)
    itself = point.context.parallel == base_parallel(point.ok[0].record)
    return found._replace(low=None, high=None) if found and itself else found
