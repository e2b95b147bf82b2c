"""Times over launches: what is repeated is a launch (a seed), not a step; one launch has only its own samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tnbench.measure.statistics import mean_interval
from tnbench.reporting.rows import Row


class Timing(NamedTuple):
    """A time or a ratio of times with its 95 % interval: over `launches`, or of the samples within the only one."""

    value: float
    low: float | None
    high: float | None
    launches: int

    @property
    def slower(self) -> bool:
        """Whether a speedup is one below 1; without an interval the value must tell."""
        return (self.value if self.high is None else self.high) < 1

    @property
    def undecided(self) -> bool:
        """Whether a speedup's interval holds 1."""
        return self.low is not None and self.high is not None and self.low <= 1 <= self.high


def over_launches(rows: Sequence[Row], column: str) -> Timing | None:
    """A column's geometric mean over rows of different launches, with Student's t-interval of the logarithms.

    Each launch counts once, by its median or its ratio of medians. A row alone gives its own number and interval,
    which speaks of the samples within that launch. None where no row has a number above 0.
    """
    timed = [(row, number) for row in rows if (number := row.number(column)) is not None and number > 0]
    if not timed:
        return None
    if len(timed) == 1:
        [(row, number)] = timed
        return Timing(number, row.number(f"{column}_low"), row.number(f"{column}_high"), launches=1)
    logarithms = mean_interval([math.log(number) for _, number in timed])
    assert logarithms.low is not None
    assert logarithms.high is not None
    return Timing(math.exp(logarithms.value), math.exp(logarithms.low), math.exp(logarithms.high), len(timed))
