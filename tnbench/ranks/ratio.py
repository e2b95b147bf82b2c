"""Weights of every layer (bias apart) at most dense/R: all its ranks are scaled by the largest such fraction."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe, Ranks
from tnbench.ranks._scale import read_number, scaled, smaller_or_dense, wrong

VERSION = 1
PATTERN = ("xR", r"x[-+.0-9].*")

_WANTED = "x and a number from 1 up, such as 'x4' for a quarter of the weights"


def check(text: str) -> None:
    """Raise UsageError unless R is a number from 1 up."""
    if read_number(text, _WANTED) < 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Any, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The largest ranks within each layer's budget.

    Raises NotApplicable where rank 1 is above the budget of a layer, though the format could make it smaller.
    """
    check(text)
    ratio = read_number(text, _WANTED)
    shrinkable = [candidate for candidate in candidates if _least(candidate) < candidate.dense]
    worst = min(shrinkable, key=lambda candidate: candidate.dense / _least(candidate), default=None)
    if worst is not None and _least(worst) * ratio > worst.dense:
        raise NotApplicable(
            f"{text} cannot be reached: layer {worst.name!r} has {_least(worst):,} of {worst.dense:,} weights with "
            f"every rank 1; its largest reachable ratio is x{_rounded_down(worst.dense / _least(worst))}"
        )
    return [_choose(candidate, candidate.dense / ratio) for candidate in candidates]


def _choose(candidate: Candidate, budget: Fraction) -> Choice:
    least = _least(candidate)
    if least >= candidate.dense:
        return KeepDense(f"every rank 1 would take {least:,} weights, dense takes {candidate.dense:,}")
    return smaller_or_dense(candidate, _largest_within(candidate, budget))


def _largest_within(candidate: Candidate, budget: Fraction) -> Ranks:
    """Exact, because only at these fractions does any rank change, and the count never falls as they grow."""
    fractions = sorted({Fraction(rank, most) for most in candidate.largest for rank in range(1, most + 1)})
    choices = [scaled(candidate.largest, fraction) for fraction in fractions]
    return choices[bisect_right(choices, math.floor(budget), key=candidate.count) - 1]


def _least(candidate: Candidate) -> int:
    return candidate.count(tuple(1 for _ in candidate.largest))


def _rounded_down(ratio: float) -> str:
    return f"{int(ratio * 10) / 10:g}"
