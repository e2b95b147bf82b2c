"""One budget for several layers: what each layer's error is at each cost, and who gets how much."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Probe, Ranks
from tnbench.ranks._scale import least, uniform_steps
from tnbench.ranks._spectrum import Cost, frontier, left_out, tails

_MEASURED_AT = (1 / 4, 1 / 2, 1, 2)
_MOST_WAYS = 4096
"""Ways to keep a layer that are looked at, evenly among all: magnitude pruning has as many as weights."""

_PARTS, _FILLED = 10_000, 0.985

Sums = NDArray[np.float64]
Indices = NDArray[np.int32]


class Step(NamedTuple):
    """One way to keep a layer: its cost, and its squared error relative to ||W||². `ranks` None is the dense layer."""

    ranks: Ranks | None
    cost: int
    error: float


Ladder = list[Step]
"""A layer's ways, each dearer than the one before and with no larger error; the last one is the dense layer."""


def ladder(candidate: Candidate, probe: Probe, cost: Cost, dense: int, share: float, multiple: int = 1) -> Ladder:
    """The ways to keep a layer that cost less than `dense`, then `dense` itself.

    Errors are bounds from the spectra. Where the method has none they are measured at every rank 1, at four costs
    around ``share * dense`` and just below `dense`, on the ways of one fraction for all ranks, and interpolated
    between. Raises NotApplicable where there are neither spectra nor errors, as in training from scratch.
    """
    try:
        spectrum = tails(probe.spectra(candidate.name), candidate.largest)
    except NotApplicable:
        steps = _measured(candidate, probe, cost, dense, share, multiple)
    else:
        ways = frontier(spectrum, candidate.largest, cost, dense, multiple)
        steps = _cheaper(((ranks, cost(ranks)) for ranks in ways), dense, lambda ranks: left_out(spectrum, ranks))
    return [*steps, Step(None, dense, 0.0)]


def _measured(candidate: Candidate, probe: Probe, cost: Cost, dense: int, share: float, multiple: int) -> Ladder:
    if cost(least(candidate)) >= dense:
        return []
    steps = uniform_steps(candidate.largest, multiple)
    ways = [(ranks, cost(ranks)) for ranks in [*steps[:: math.ceil(len(steps) / _MOST_WAYS)], steps[-1]]]
    costs = [spent for _, spent in ways]
    wanted = [min(share * at * dense, dense - 1) for at in _MEASURED_AT] + [dense - 1]
    targets = [least(candidate), *(ways[max(0, bisect_right(costs, each) - 1)][0] for each in wanted)]
    known = {dense: 0.0}
    lowest = float("inf")
    for ranks in dict.fromkeys(targets):
        if cost(ranks) < dense:
            # Alternating least squares may end worse at larger ranks; smaller ones with zeros are as good.
            lowest = min(lowest, probe.error(candidate.name, ranks) ** 2)
            known[cost(ranks)] = lowest
    marks = sorted(known.items())
    return _cheaper(ways, dense, lambda ranks: _between(marks, cost(ranks)))


def _between(marks: Sequence[tuple[int, float]], cost: int) -> float:
    above = min(max(1, bisect_right(marks, (cost, float("inf")))), len(marks) - 1)
    (low, from_), (high, to) = marks[above - 1], marks[above]
    return from_ + (to - from_) * (cost - low) / (high - low)


def _cheaper(ways: Iterable[tuple[Ranks, int]], dense: int, error: Callable[[Ranks], float]) -> Ladder:
    """The steps below `dense` that no cheaper one equals; of several that cost the same, the last of least error."""
    steps: Ladder = []
    for ranks, cost in ways:
        step = Step(ranks, cost, error(ranks))
        if cost < dense and not (steps and step.error > steps[-1].error):
            while steps and cost <= steps[-1].cost:
                steps.pop()
            steps.append(step)
    return steps


def allocate(ladders: Sequence[Ladder], budget: int) -> list[Step]:
    """One step per ladder: the least sum of errors among all that together cost from 98.5 % of `budget` to all of it.

    Where no choice comes so close to the budget, the closest. A multiple-choice knapsack, solved by dynamic programming
    over costs in parts of a ten-thousandth (rounded up, so that the budget is kept); what rounding leaves over is given
    out greedily. Every ladder's first step must fit.
    """
    unit = max(1, math.ceil(budget / _PARTS))
    parts = budget // unit
    least, taken = np.full(parts + 1, np.inf), []
    least[0] = 0.0
    for steps in ladders:
        least, choice = _with_layer(least, steps, unit)
        taken.append(choice)
    at = _traced(least, taken, ladders, unit)
    _climb(ladders, at, budget - sum(steps[index].cost for steps, index in zip(ladders, at, strict=True)))
    return [steps[index] for steps, index in zip(ladders, at, strict=True)]


def _with_layer(before: Sums, steps: Ladder, unit: int) -> tuple[Sums, Indices]:
    """The least error for every sum of costs with one layer more, and the step that it has there."""
    least, choice = np.full_like(before, np.inf), np.zeros(len(before), dtype=np.int32)
    for index, step in enumerate(steps):
        size = -(-step.cost // unit)
        if size >= len(before):
            break
        tried = before[: len(before) - size] + step.error
        better = tried < least[size:]
        least[size:][better] = tried[better]
        choice[size:][better] = index
    return least, choice


def _traced(least: Sums, taken: Sequence[Indices], ladders: Sequence[Ladder], unit: int) -> list[int]:
    """The steps that lead to the best sum; the first of every ladder where rounding lets nothing fit."""
    (reached,) = np.nonzero(np.isfinite(least))
    if not len(reached):
        return [0] * len(ladders)
    # Equal sums differ by up to one part for each ladder, by rounding.
    enough = max(0, min(math.ceil(_FILLED * (len(least) - 1)), int(reached[-1]) - len(ladders)))
    part = enough + int(np.argmin(least[enough:]))
    at: list[int] = []
    for choice, steps in zip(reversed(taken), reversed(ladders), strict=True):
        at.append(int(choice[part]))
        part -= -(-steps[at[-1]].cost // unit)
    return at[::-1]


def _climb(ladders: Sequence[Ladder], at: list[int], left: int) -> None:
    """Raise `at` step by step, always where an error falls most for its cost, while it fits into what is `left`."""
    while ways := [
        ((steps[index].error - steps[index + 1].error) / dearer, layer, dearer)
        for layer, (steps, index) in enumerate(zip(ladders, at, strict=True))
        if index + 1 < len(steps) and (dearer := steps[index + 1].cost - steps[index].cost) <= left
    ]:
        _, layer, dearer = max(ways)
        at[layer] += 1
        left -= dearer
