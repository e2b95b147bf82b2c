"""Points: one method at one rank in one context, over its seeds. What curves, tables and sentences are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tnbench.measure.statistics import Estimate, mean_interval
from tnbench.reporting.context import Context, context_of
from tnbench.reporting.launches import Timing, over_launches
from tnbench.reporting.rows import Row


@dataclass(frozen=True)
class Point:
    """`rows` holds one row per seed, of any status; of several records of one seed the last one, ok ones first."""

    context: Context
    method: str
    rank: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.ok)

    @property
    def dense(self) -> bool:
        return self.method == "dense"

    @property
    def label(self) -> str:
        return self.method if self.dense else f"{self.method} {self.rank}"

    def over_seeds(self, column: str) -> Estimate | None:
        """The mean over seeds with a t-interval; None where no seed has a number."""
        found = [number for row in self.ok if (number := row.number(column)) is not None]
        return mean_interval(found) if found else None

    def mean(self, column: str) -> float | None:
        estimate = self.over_seeds(column)
        return estimate.value if estimate else None

    def timing(self, column: str) -> Timing | None:
        """A time, or a ratio of times, over the seeds' launches; None where no seed has one."""
        return over_launches(self.ok, column)


def make_points(rows: Sequence[Row]) -> list[Point]:
    """The points, grouped by context in order of appearance; in each, dense first, then by method and compression."""
    groups: dict[tuple[Context, str, str], dict[int, Row]] = {}
    for row, context in zip(rows, _contexts(rows), strict=True):
        seeds = groups.setdefault((context, row.case.method, row.case.rank), {})
        if row.ok or row.case.seed not in seeds or not seeds[row.case.seed].ok:
            seeds[row.case.seed] = row
    points = [Point(*key, rows=tuple(seeds[seed] for seed in sorted(seeds))) for key, seeds in groups.items()]
    order = {context: index for index, context in enumerate(dict.fromkeys(point.context for point in points))}
    return sorted(points, key=lambda point: (order[point.context], not point.dense, point.method, _by_size(point)))


def _contexts(rows: Sequence[Row]) -> list[Context]:
    """Each row's context. A case that the plan skipped was at no machine, so it joins the last ok ones like it."""
    exact = [context_of(row.record, row.case) for row in rows]
    asked = {_asked(context): context for context, row in zip(exact, rows, strict=True) if row.ok}
    return [
        asked.get(_asked(context), context) if _never_ran(row) else context
        for context, row in zip(exact, rows, strict=True)
    ]


def _never_ran(row: Row) -> bool:
    return not row.ok and not row.record.provenance.get("identity")


def _asked(context: Context) -> tuple[str, ...]:
    return context.model, context.dataset, context.training, context.parallel, context.settings


def by_context(points: Iterable[Point]) -> dict[Context, list[Point]]:
    """The points of each context, in order."""
    found: dict[Context, list[Point]] = {}
    for point in points:
        found.setdefault(point.context, []).append(point)
    return found


def curves(points: Iterable[Point]) -> dict[str, list[Point]]:
    """The points of one context by method; each curve runs from small to large compression."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.method, []).append(point)
    return found


def _by_size(point: Point) -> tuple[Any, ...]:
    compression = point.mean("compression")
    natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", point.rank)]
    return compression is None, compression or 0.0, natural
