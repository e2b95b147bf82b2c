"""Ranks from spectra: what each rank leaves out, and the ranks that leave out least at a cost.

Rank j cuts the singular values of unfolding j. What all ranks together leave out of a weight is at least the most that
one of them leaves out and at most the sum over all (De Lathauwer, De Moor and Vandewalle, "A multilinear singular value
decomposition", 2000; Oseledets, "Tensor-train decomposition", 2011). Between these lies the estimate that is used here:
the shares that the ranks keep multiply, as they do where modes are independent. The sum would be above 1 where two
modes each lose half, and so prefer to cut one mode alone.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from tnbench.core.protocols import Ranks
from tnbench.ranks._scale import allowed

if TYPE_CHECKING:
    from torch import Tensor

Tail = list[float]
Cost = Callable[[Ranks], int]

_BUDGETS = 16


def tails(spectra: Sequence[Tensor], largest: Ranks) -> list[Tail]:
    """For each rank, at index r: the share of the energy that singular values after the r-th have; 0 of a zero weight.

    >>> import torch
    >>> tails([torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)], (3,))
    [[1.0, 0.3333333333333333, 0.16666666666666666, 0.0]]
    """
    return [_tail(values, most) for values, most in zip(spectra, largest, strict=True)]


def _tail(values: Tensor, most: int) -> Tail:
    energies = values.double().cpu().square()
    after = energies.flip(0).cumsum(0).flip(0)
    shares = after / after[0] if after[0] > 0 else after
    return ([*shares.tolist()] + [0.0] * (most + 1))[: most + 1]


def left_out(spectrum: Sequence[Tail], ranks: Ranks) -> float:
    """The estimated squared relative error at `ranks`; that of a single rank is exact.

    >>> left_out([[1.0, 0.5, 0.0], [1.0, 0.2, 0.0]], (1, 1))
    0.6
    """
    return 1 - math.prod(1 - tail[rank] for tail, rank in zip(spectrum, ranks, strict=True))


def path(
    spectrum: Sequence[Tail], largest: Ranks, cost: Cost, multiple: int = 1, start: Ranks | None = None
) -> Iterator[Ranks]:
    """From `start`, or every rank 1, to the largest, raising at each step what saves most error for its cost."""
    rungs = [allowed(most, multiple) for most in largest]
    ranks = start or tuple(1 for _ in largest)
    yield ranks
    while ways := [
        _way(spectrum, ranks, (*ranks[:axis], rung[bisect_right(rung, rank)], *ranks[axis + 1 :]), cost)
        for axis, (rung, rank) in enumerate(zip(rungs, ranks, strict=True))
        if rank < rung[-1]
    ]:
        _, _, ranks = max(ways, key=lambda way: way[:2])
        yield ranks


def _way(spectrum: Sequence[Tail], ranks: Ranks, raised: Ranks, cost: Cost) -> tuple[float, int, Ranks]:
    """Error saved for its cost, cheapness, and where it leads to."""
    dearer = cost(raised) - cost(ranks)
    saved = left_out(spectrum, ranks) - left_out(spectrum, raised)
    return (saved / dearer if dearer > 0 else float("inf")), -dearer, raised


def best_within(
    spectrum: Sequence[Tail], largest: Ranks, cost: Cost, budget: int, starts: Sequence[Ranks], multiple: int = 1
) -> Ranks:
    """The ranks with the least estimate among those that cost at most `budget`, as each of `starts` does.

    Exact for one and two ranks. For more, pairs of ranks are solved exactly beside the others until no pair gets
    better, from every start: never worse than the best of them.
    """
    rungs = [allowed(most, multiple) for most in largest]
    if len(rungs) == 1:
        return (max(rank for rank in (*rungs[0], starts[0][0]) if cost((rank,)) <= budget),)
    ends = [_by_pairs(spectrum, rungs, cost, budget, start) for start in dict.fromkeys(starts)]
    return min(ends, key=lambda ranks: left_out(spectrum, ranks))


def frontier(spectrum: Sequence[Tail], largest: Ranks, cost: Cost, below: int, multiple: int = 1) -> Iterator[Ranks]:
    """Ranks of rising cost up to `below`: the best at some budgets, and `path` from each of these to the next."""
    cost = cache(cost)
    greedy = list(within(path(spectrum, largest, cost, multiple), cost, below - 1))
    if len(largest) == 1 or not greedy:
        yield from greedy
        return
    costs, best = [cost(ranks) for ranks in greedy], [greedy[0]]
    for step in range(1, _BUDGETS + 1):
        budget = int(costs[0] * ((below - 1) / costs[0]) ** (step / _BUDGETS))
        start = min(best[-1], greedy[bisect_right(costs, budget) - 1], key=lambda ranks: left_out(spectrum, ranks))
        best.append(best_within(spectrum, largest, cost, budget, [start], multiple))
    best = list(dict.fromkeys(best))
    for ranks, end in zip(best, [*map(cost, best[1:]), below], strict=True):
        yield from within(path(spectrum, largest, cost, multiple, ranks), cost, end - 1)


def within(ways: Iterator[Ranks], cost: Cost, budget: int) -> Iterator[Ranks]:
    """The first of `ways`, up to the first that costs more than `budget`."""
    return itertools.takewhile(lambda ranks: cost(ranks) <= budget, ways)


def _by_pairs(spectrum: Sequence[Tail], rungs: Sequence[Sequence[int]], cost: Cost, budget: int, ranks: Ranks) -> Ranks:
    error, previous = left_out(spectrum, ranks), float("inf")
    while error < previous:
        previous = error
        for pair in itertools.combinations(range(len(rungs)), 2):
            for tried in _exchanges(rungs, pair, cost, budget, ranks):
                estimate = left_out(spectrum, tried)
                if estimate < error:
                    error, ranks = estimate, tried
    return ranks


def _exchanges(
    rungs: Sequence[Sequence[int]], pair: tuple[int, int], cost: Cost, budget: int, ranks: Ranks
) -> Iterator[Ranks]:
    """For each value of one rank of the pair the largest of the other that fits, as one rises and the other falls."""
    rising, falling = pair
    tried, at = list(ranks), len(rungs[falling]) - 1
    for rank in rungs[rising]:
        tried[rising] = rank
        while at >= 0:
            tried[falling] = rungs[falling][at]
            if cost(tuple(tried)) <= budget:
                yield tuple(tried)
                break
            at -= 1
