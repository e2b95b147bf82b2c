"""Weights of every layer (bias apart) at most dense/R: all its ranks are scaled by the largest such fraction."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe, Ranks
from tnbench.ranks._scale import (
    Multiples,
    least,
    read_number,
    rounded_down,
    smaller_or_dense,
    uniform_steps,
    wrong,
)
from tnbench.ranks._spectrum import best_within, path, tails, within

VERSION = 1
PATTERN = ("xR", r"x[-+.0-9].*")

_WANTED = "x and a number from 1 up, such as 'x4' for a quarter of the weights"


@dataclass(frozen=True)
class Options(Multiples):
    """`by`: one fraction for all of a layer's ranks, or, within the same budget, the ranks of least error.

    ``spectrum`` reads that off the singular values; for a layer of one rank both are the same.
    """

    by: Literal["fraction", "spectrum"] = "fraction"


def check(text: str) -> None:
    """Raise UsageError unless R is a number from 1 up."""
    if read_number(text, "x", _WANTED) < 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Options, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The largest ranks within each layer's budget.

    Raises NotApplicable where rank 1 is above the budget of a layer, though the format could make it smaller, and for
    ``by=spectrum`` where there is no spectrum.
    """
    check(text)
    ratio = read_number(text, "x", _WANTED)
    shrinkable = [candidate for candidate in candidates if _least(candidate) < candidate.dense]
    worst = min(shrinkable, key=lambda candidate: candidate.dense / _least(candidate), default=None)
    if worst is not None and _least(worst) * ratio > worst.dense:
        raise NotApplicable(
            f"{text} cannot be reached: layer {worst.name!r} has {_least(worst):,} of {worst.dense:,} weights with "
            f"every rank 1; its largest reachable ratio is x{rounded_down(worst.dense / _least(worst))}"
        )
    return [_choose(candidate, math.floor(candidate.dense / ratio), options, probe) for candidate in candidates]


def _choose(candidate: Candidate, budget: int, options: Options, probe: Probe) -> Choice:
    weights = _least(candidate)
    if weights >= candidate.dense:
        return KeepDense(f"every rank 1 would take {weights:,} weights, dense takes {candidate.dense:,}")
    ranks = _largest_within(candidate, budget, options.multiple)
    if options.by == "spectrum":
        ranks = _least_error_within(candidate, budget, ranks, options.multiple, probe)
    return smaller_or_dense(candidate, ranks)


def _largest_within(candidate: Candidate, budget: int, multiple: int) -> Ranks:
    """Exact, because the count never falls as the ranks grow together."""
    steps = uniform_steps(candidate.largest, multiple)
    return steps[bisect_right(steps, budget, key=candidate.count) - 1]


def _least_error_within(candidate: Candidate, budget: int, scaled: Ranks, multiple: int, probe: Probe) -> Ranks:
    """The ranks of the least bound, or the `scaled` ones where these turn out to be closer: a bound may mislead."""
    spectrum = tails(probe.spectra(candidate.name), candidate.largest)
    *_, greedy = within(path(spectrum, candidate.largest, candidate.count, multiple), candidate.count, budget)
    best = best_within(spectrum, candidate.largest, candidate.count, budget, (scaled, greedy), multiple)
    if best == scaled or probe.error(candidate.name, best) <= probe.error(candidate.name, scaled):
        return best
    return scaled


def _least(candidate: Candidate) -> int:
    return candidate.count(least(candidate))
