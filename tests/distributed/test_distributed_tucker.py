"""ST-HOSVD over grids and Multi-TTM: as on one rank, and at the cost of their formulas."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from decomposed import Counts, counted, decaying, distance, is_cost, noise, projector
from hypothesis import given, settings
from hypothesis import strategies as st

from tnbench.core.protocols import Crew
from tnbench.distributed import st_hosvd as distributed
from tnbench.distributed.grid import Grid, distribute, factorisations, gather
from tnbench.distributed.multi_ttm import (
    best_grid,
    collected,
    least_moved,
    moved,
    multi_ttm,
    multi_ttm_cost,
    multi_ttm_of,
    shares,
)
from tnbench.distributed.pool import RankPool
from tnbench.linalg.hosvd import st_hosvd
from tnbench.linalg.multilinear import expanded

TUCKER = [((6, 8, 10), (2, 3, 4), (0, 1, 2)), ((5, 7, 3), (3, 2, 2), (0, 1, 2)), ((5, 6, 3, 3), (2, 3), (1, 0))]
VIAS: tuple[distributed.Via, ...] = ("gram", "lq", "sketch")
TIMES = [((6, 8, 10), (2, 3, 4)), ((5, 3, 7), (4, 3, 2)), ((9, 5), (2, 7))]
Answers = list[dict[str, tuple[Any, Counts]]]


def tucker(crew: Crew) -> dict[str, tuple[Any, Counts]]:
    found = {}
    for shape, ranks, modes in TUCKER:
        tensor = decaying(*shape)
        for sides in factorisations(crew.world, len(shape)):
            given_ = distribute(tensor, Grid(sides))
            for via in VIAS:
                (core, factors), counts = counted(partial(distributed.st_hosvd, given_, ranks, modes, via=via, seed=1))
                found[f"{shape} {sides} {via}"] = (gather(core), factors), counts
    return found


def check_tucker(answers: Answers, ranks_there: int) -> None:
    for shape, ranks, modes in TUCKER:
        tensor = decaying(*shape)
        for sides in factorisations(ranks_there, len(shape)):
            for via in VIAS:
                name = f"{shape} {sides} {via}"
                twin = st_hosvd(tensor, ranks, modes)
                if via == "sketch":  # its own twin is the sketch on one rank
                    lone = distribute(tensor, Grid((1,) * len(shape)))
                    core, factors = distributed.st_hosvd(lone, ranks, modes, via=via, seed=1)
                    twin = core.local, factors
                for found in answers:
                    core, factors = found[name][0]
                    assert [tuple(factor.shape) for factor in factors] == [
                        (shape[mode], rank) for mode, rank in zip(modes, ranks, strict=True)
                    ]
                    for got, wanted in zip(factors, twin[1], strict=True):
                        assert distance(projector(got), projector(wanted)) < 1e-10, name
                    assert distance(expanded(core, factors, modes), expanded(*twin, modes)) < 1e-10, name
                cost = distributed.st_hosvd_cost(shape, ranks, modes, sides, via=via)
                assert is_cost([found[name][1] for found in answers], cost), name


def test_st_hosvd_on_two_ranks(two_ranks: RankPool) -> None:
    check_tucker(two_ranks.run(tucker), 2)


def test_st_hosvd_on_four_ranks(four_ranks: RankPool) -> None:
    check_tucker(four_ranks.run(tucker), 4)


def test_st_hosvd_alone() -> None:
    lone = distribute(decaying(6, 8, 10).float(), Grid((1, 1, 1)))
    core, factors = distributed.st_hosvd(lone, (2, 3, 4), (0, 1, 2))
    twin = st_hosvd(decaying(6, 8, 10), (2, 3, 4), (0, 1, 2))
    assert core.local.dtype == torch.float32
    wanted = expanded(*twin, (0, 1, 2))
    assert distance(expanded(core.local, factors, (0, 1, 2)).double(), wanted) < 1e-5


def test_a_triangle_tells_what_a_gram_matrix_does_not() -> None:
    values = torch.tensor([1.0, 1e-6, 1e-10, 1e-12], dtype=torch.float64)
    matrix = torch.linalg.qr(noise(4, 4)).Q * values @ torch.linalg.qr(noise(30, 4, seed=1)).Q.T
    lone = distribute(matrix, Grid((1, 1)))
    errors = {}
    for via in ("gram", "lq"):
        basis = distributed.leading(lone, 0, 3, via, 0)
        errors[via] = float((matrix - basis @ (basis.T @ matrix)).norm())
    assert errors["lq"] < 1.1e-12
    assert errors["gram"] > 2 * errors["lq"]


def test_the_grid_that_moves_no_tensor() -> None:
    assert distributed.best_grid((64, 64, 64), (8, 8, 8), (0, 1, 2), 4) == (1, 1, 4)
    assert distributed.best_grid((512, 16, 4, 3), (64, 8), (0, 1), 2) == (1, 1, 2, 1)


def times(crew: Crew) -> dict[str, tuple[Any, Counts]]:
    found = {}
    for shape, ranks in TIMES:
        tensor = noise(*shape)
        matrices = [noise(side, rank, seed=7) for side, rank in zip(shape, ranks, strict=True)]
        for sides in factorisations(crew.world, 2 * len(shape)):
            grid = Grid(sides)
            parts = shares(tensor, matrices, grid)
            share, counts = counted(partial(multi_ttm, parts, shape, ranks, grid))
            found[f"{shape} {sides}"] = collected(share, ranks, grid), counts
        found[f"{shape} best"] = multi_ttm_of(tensor, matrices), (0, 0)
    return found


def check_times(answers: Answers, ranks_there: int) -> None:
    for shape, ranks in TIMES:
        matrices = [noise(side, rank, seed=7) for side, rank in zip(shape, ranks, strict=True)]
        wanted = expanded(noise(*shape), [matrix.T for matrix in matrices], range(len(shape)))
        for found in answers:
            assert distance(found[f"{shape} best"][0], wanted) < 1e-10
        for sides in factorisations(ranks_there, 2 * len(shape)):
            name = f"{shape} {sides}"
            assert all(distance(found[name][0], wanted) < 1e-10 for found in answers)
            assert is_cost([found[name][1] for found in answers], multi_ttm_cost(shape, ranks, sides)), name


def test_multi_ttm_on_two_ranks(two_ranks: RankPool) -> None:
    check_times(two_ranks.run(times), 2)


def test_multi_ttm_on_four_ranks(four_ranks: RankPool) -> None:
    check_times(four_ranks.run(times), 4)


def test_multi_ttm_alone() -> None:
    matrices = [noise(5, 2), noise(4, 3)]
    assert distance(multi_ttm_of(noise(5, 4), matrices), matrices[0].T @ noise(5, 4) @ matrices[1]) < 1e-12


SIDES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=200)
@given(SIDES, st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]))
def test_no_grid_beats_the_bound(sides: list[tuple[int, int]], count: int) -> None:
    shape, ranks = zip(*sides, strict=True)
    if not fitting(shape, ranks, count):
        with pytest.raises(ValueError, match="wanted a grid with at most one rank per row and column"):
            best_grid(shape, ranks, count)
        return
    best = best_grid(shape, ranks, count)
    assert math.prod(best) == count
    least = moved(shape, ranks, best)
    assert all(least <= moved(shape, ranks, other) for other in fitting(shape, ranks, count))
    assert least >= least_moved(shape, ranks, count) * (1 - 1e-9) - 1e-6


def fitting(shape: tuple[int, ...], ranks: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    limits = (*shape, *ranks)
    grids = factorisations(count, len(limits))
    return [sides for sides in grids if all(side <= limit for side, limit in zip(sides, limits, strict=True))]


@pytest.mark.parametrize("count", [2, 8, 64, 512])
def test_the_bound_is_nearly_met(count: int) -> None:
    shape, ranks = (1024, 1024, 1024), (64, 64, 64)
    ratio = moved(shape, ranks, best_grid(shape, ranks, count)) / least_moved(shape, ranks, count)
    assert 1 - 1e-9 <= ratio < 1.25


def test_the_bound_of_three_modes_in_closed_form() -> None:
    shape, ranks = (40, 50, 60), (4, 5, 6)
    x1, x2, x3 = sorted(n * r for n, r in zip(shape, ranks, strict=True))
    n, r = math.prod(shape), math.prod(ranks)
    for count in (1, 4, 16, 1024):
        matrices = (
            x1 + x2 + x3 / count
            if count < x3 / x2
            else x1 + 2 * math.sqrt(x2 * x3 / count)
            if count < x2 * x3 / x1**2
            else 3 * (x1 * x2 * x3 / count) ** (1 / 3)
        )
        tensors = r + n / count if count < n / r else 2 * math.sqrt(n * r / count)
        wanted = matrices + tensors - (n + r + x1 + x2 + x3) / count
        assert least_moved(shape, ranks, count) == pytest.approx(wanted, abs=1e-6)
