"""Pareto fronts: what no rival beats in accuracy and a cost at once. Each cost has its own: none stands for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tnbench.core.metrics import METRICS
from tnbench.reporting.points import Point

QUALITY = "top1"
COSTS: Mapping[str, str] = {
    "params": "params",
    "macs": "MACs",
    "forward_ms": "latency",
    "throughput": "throughput",
}
"""Each cost that has a front of its own, and its name there. The last two are measured, the others counted."""

Goods = Sequence[float | None]


def dominates(one: Goods, other: Goods, better: Sequence[str]) -> bool:
    """Whether `one` is at least as good in everything and better in something; `better` is ``higher`` or ``lower``.

    Equals do not dominate each other. With a number missing on either side nothing can be said, so it is False.

    >>> dominates((90.0, 5.0), (90.0, 6.0), ("higher", "lower"))
    True
    """
    pairs = []
    for mine, theirs, direction in zip(one, other, better, strict=True):
        if mine is None or theirs is None:
            return False
        pairs.append((mine, theirs) if direction == "higher" else (-mine, -theirs))
    return all(mine >= theirs for mine, theirs in pairs) and any(mine > theirs for mine, theirs in pairs)


def front(candidates: Sequence[Goods], better: Sequence[str]) -> list[int]:
    """The places of those that none dominates; who lacks a number is in no front.

    >>> front([(90.0, 5.0), (91.0, 6.0), (89.0, 6.0), (None, 1.0)], ("higher", "lower"))
    [0, 1]
    """
    return [
        place
        for place, candidate in enumerate(candidates)
        if None not in candidate and not any(dominates(rival, candidate, better) for rival in candidates)
    ]


class Fronts(NamedTuple):
    """Of one context's points: the members of each cost's front, by the cost's column."""

    members: Mapping[str, list[Point]]

    def has(self, cost: str, point: Point) -> bool:
        """Whether `point` itself is a member of the front of `cost`."""
        return any(point is member for member in self.members[cost])


def make_fronts(points: Sequence[Point]) -> Fronts:
    """The fronts of one context, by means over seeds and launches; intervals are not looked at."""
    found = {}
    for cost in COSTS:
        goods = [(point.mean(QUALITY), _cost(point, cost)) for point in points]
        places = front(goods, (METRICS[QUALITY].better, METRICS[cost].better))
        found[cost] = [points[place] for place in places]
    return Fronts(found)


def _cost(point: Point, cost: str) -> float | None:
    if METRICS[cost].varies != "launch":
        return point.mean(cost)
    timing = point.timing(cost)
    return timing.value if timing else None
