"""Two commits measured in alternation, and what their launches say together.

A machine drifts, so numbers taken at one time are compared with one another and with no others. Launches go in pairs,
each commit first in turn, and a change is the median of what the pairs say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from scipy import stats

from tnbench.core.errors import TnbenchError, UsageError

Measure = Callable[[], float]
"""A launch of one commit: its number. Raises Unmeasured where it has none."""

CHANCE = 0.05
"""How likely launches as different as these may be between equal commits. A change is seen twice before it is told."""

LEAST_LAUNCHES = 4
"""Fewer launches of each are never that unlikely, in whatever order."""

_ROUNDS = 3


class Unmeasured(TnbenchError):
    """A launch gave no number; the text says why."""


class EndedBadly(Unmeasured):
    """The case did not end ok."""


class Refused(Unmeasured, UsageError):
    """The code there does not take the case or the options."""


@dataclass(frozen=True)
class SideBySide:
    """Launches of two commits, pair by pair. A single pair was enough where numbers repeat exactly."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def exact(self) -> bool:
        return len(self.before) == 1

    @property
    def in_ratios(self) -> bool:
        """Whether numbers are compared by ratios: all are above 0. Others are compared by differences."""
        return min(*self.before, *self.after) > 0

    @property
    def equal(self) -> bool:
        """Whether chance alone may give launches like these (Mann and Whitney, 1947); exact numbers leave it none."""
        if self.exact or self.change == 0:
            return self.change == 0
        return bool(stats.mannwhitneyu(self.before, self.after).pvalue > CHANCE)

    @property
    def change(self) -> float:
        """The median change from `before` to `after`: the logarithm of a ratio, or a difference."""
        return self.change_in(ratios=self.in_ratios)

    def change_in(self, *, ratios: bool) -> float:
        """The same, in ratios or differences as told. A number that has no logarithm is endlessly small."""
        pairs = zip(self.before, self.after, strict=True)
        if not ratios:
            return median(after - before for before, after in pairs)
        return median(0.0 if before == after else _log(after) - _log(before) for before, after in pairs)

    def share_of(self, whole: SideBySide) -> float:
        """How much of the change `whole` is seen here: 0 for none of it, 1 for all."""
        return self.change_in(ratios=whole.in_ratios) / whole.change


def check_launches(launches: int) -> None:
    """Raise UsageError for a number of launches that can tell nothing apart."""
    if launches != 1 and launches < LEAST_LAUNCHES:
        raise UsageError(
            f"--launches: got {launches}, wanted {LEAST_LAUNCHES} or more, as any order of fewer is likely by chance; "
            f"or 1, which takes every number at its word"
        )


def told_apart(before: Measure, after: Measure, launches: int) -> SideBySide:
    """`side_by_side`, again and added to what was measured, up to three times, as long as chance may explain it."""
    found = side_by_side(before, after, launches)
    for _ in range(_ROUNDS - 1):
        if found.exact or not found.equal:
            break
        more = side_by_side(before, after, launches)
        found = SideBySide(found.before + more.before, found.after + more.after)
    return found


def side_by_side(before: Measure, after: Measure, launches: int) -> SideBySide:
    """Measure both in alternation, `launches` times each; once is enough when the first two pairs agree exactly."""
    pairs: list[tuple[float, float]] = []
    for number in range(launches):
        if number % 2:
            first = before()
            pairs.append((first, after()))
        else:
            second = after()
            pairs.append((before(), second))
        if number == 1 and pairs[0] == pairs[1]:
            pairs = pairs[:1]
            break
    befores, afters = zip(*pairs, strict=True)
    return SideBySide(befores, afters)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
