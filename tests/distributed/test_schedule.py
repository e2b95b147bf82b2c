"""Layers over ranks: the schedule's guarantee, and all results on all ranks."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import counting
from tnbench.distributed.pool import RankPool
from tnbench.distributed.schedule import least_makespan, longest_first, makespan, over_ranks, over_ranks_cost

COSTS = [3.0, 1.0, 5.0, 2.0, 2.0]
SHAPES = [[(3, 2), (4,)], [(1,)], [(2, 2, 2)], [(5,), (1, 1), (2,)], []]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 3))
def test_no_schedule_is_much_shorter(costs: list[int], ranks: int) -> None:
    got = makespan(costs, longest_first(costs, ranks))
    best = min((makespan(costs, placed) for placed in product(range(ranks), repeat=len(costs))), default=0.0)
    assert least_makespan(costs, ranks) <= best <= got <= (4 / 3 - 1 / (3 * ranks)) * best + 1e-9


def test_worst_case_of_the_guarantee_is_met() -> None:
    costs = [3, 3, 2, 2, 2]
    assert makespan(costs, longest_first(costs, 2)) == 7  # the best is 6, and 4/3 - 1/6 is 7/6


def test_no_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 ranks, wanted at least 1"):
        longest_first([1.0], 0)


def made(item: int) -> tuple[Tensor, ...]:
    return tuple(torch.full(shape, item + at / 10, dtype=torch.float64) for at, shape in enumerate(SHAPES[item]))


def spread_work(crew: Crew) -> tuple[list[tuple[Tensor, ...]], list[int], int, int]:
    done = []

    def work(item: int) -> tuple[Tensor, ...]:
        done.append(item)
        return made(item)

    with counting() as counted:
        results = over_ranks(work, COSTS, torch.zeros(0, dtype=torch.float64))
    nothing = over_ranks(work, [], torch.zeros(0))
    assert nothing == []
    return results, done, counted.words, len(counted.calls)


def check(results: list[tuple[Tensor, ...]]) -> None:
    for item, result in enumerate(results):
        assert [tensor.tolist() for tensor in result] == [tensor.tolist() for tensor in made(item)]


def test_every_rank_gets_all_results_and_does_its_share(two_ranks: RankPool) -> None:
    placed, cost = longest_first(COSTS, 2), over_ranks_cost(COSTS, SHAPES, 2)
    for rank, (results, done, words, calls) in enumerate(two_ranks.run(spread_work)):
        check(results)
        assert done == [item for item, where in enumerate(placed) if where == rank]
        assert (words, calls) == (cost.words, cost.messages)


def test_a_result_of_another_type_than_announced_is_refused() -> None:
    with pytest.raises(TypeError, match=r"item 0: got a tensor of torch.float64 on cpu, wanted torch.float32 on cpu"):
        over_ranks(made, COSTS, torch.zeros(0))


def test_alone_everything_is_done_here() -> None:
    results = over_ranks(made, COSTS, torch.zeros(0, dtype=torch.float64))
    check(results)
    assert over_ranks_cost(COSTS, SHAPES, 1).words == 0
