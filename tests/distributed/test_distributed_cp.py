"""CP-ALS over grids: the steps of textbook least squares, whatever the grid."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
import torch
from decomposed import Counts, counted, distance, is_cost, noise
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed.cp_als import Found, best_grid, cp_als, cp_als_cost
from tnbench.distributed.grid import Grid, distribute, factorisations
from tnbench.distributed.mttkrp import khatri_rao, sweep, sweep_flops
from tnbench.distributed.pool import RankPool
from tnbench.linalg.cp import cp_dense
from tnbench.linalg.multilinear import unfold

CASES = [((6, 8, 10), 3), ((5, 7, 3), 2), ((3, 4, 5, 2), 2), ((7, 6), 2)]
SWEEPS = 4
Answers = list[dict[str, tuple[Any, Counts]]]


def planted(shape: tuple[int, ...], rank: int) -> Tensor:
    """Terms and noise; every side of the start differs from the terms."""
    terms = cp_dense([noise(side, rank, seed=20 + mode) for mode, side in enumerate(shape)])
    return terms + 0.1 * noise(*shape, seed=30)


def textbook(tensor: Tensor, start: list[Tensor], sweeps: int) -> tuple[Tensor, list[float]]:
    """Kolda and Bader, "Tensor decompositions and applications" (2009), figure 3.3, by least-squares solvers."""
    columns, errors = list(start), []
    for _ in range(sweeps):
        for mode in range(tensor.dim()):
            others = khatri_rao([matrix for other, matrix in enumerate(columns) if other != mode])
            columns[mode] = torch.linalg.lstsq(others.T, unfold(tensor, mode).T, driver="gelsd").solution.T
        errors.append(distance(cp_dense(columns), tensor))
    return cp_dense(columns), errors


def start_of(shape: tuple[int, ...], rank: int) -> list[Tensor]:
    return [noise(side, rank, seed=40 + mode) for mode, side in enumerate(shape)]


def decomposed(crew: Crew) -> dict[str, tuple[Found, Counts]]:
    found = {}
    for shape, rank in CASES:
        tensor = planted(shape, rank)
        for sides in factorisations(crew.world, len(shape)):
            given, start = distribute(tensor, Grid(sides)), start_of(shape, rank)
            found[f"{shape} {sides}"] = counted(partial(cp_als, given, rank, sweeps=SWEEPS, start=start))
            found[f"{shape} {sides} drawn"] = counted(partial(cp_als, given, rank, sweeps=1, seed=3))
    return found


def check(answers: Answers, ranks: int) -> None:
    for shape, rank in CASES:
        tensor = planted(shape, rank)
        wanted, errors = textbook(tensor, start_of(shape, rank), SWEEPS)
        lone = cp_als(distribute(tensor, Grid((1,) * len(shape))), rank, sweeps=1, seed=3)
        for sides in factorisations(ranks, len(shape)):
            name = f"{shape} {sides}"
            for found in answers:
                got = found[name][0]
                assert distance(cp_dense(got.columns), wanted) < 1e-9, name
                assert got.errors == pytest.approx(errors, rel=1e-8)
                drawn = found[f"{name} drawn"][0]
                assert distance(cp_dense(drawn.columns), cp_dense(lone.columns)) < 1e-10, name
            assert is_cost([found[name][1] for found in answers], cp_als_cost(shape, rank, sides, SWEEPS)), name


def test_cp_als_on_two_ranks(two_ranks: RankPool) -> None:
    check(two_ranks.run(decomposed), 2)


def test_cp_als_on_four_ranks(four_ranks: RankPool) -> None:
    check(four_ranks.run(decomposed), 4)


def test_cp_als_alone() -> None:
    tensor = planted((6, 8, 10), 3)
    single = cp_als(distribute(tensor.float(), Grid((1, 1, 1))), 3, sweeps=SWEEPS, start=start_of((6, 8, 10), 3))
    assert single.columns[0].dtype == torch.float32
    assert distance(cp_dense(single.columns).double(), textbook(tensor, start_of((6, 8, 10), 3), SWEEPS)[0]) < 1e-4


def test_terms_that_are_zero_or_alike_are_survived() -> None:
    start = [torch.ones(side, 2, dtype=torch.float64) for side in (3, 4, 5)]
    alike = cp_als(distribute(planted((3, 4, 5), 1), Grid((1, 1, 1))), 2, sweeps=2, start=start)
    assert all(torch.isfinite(matrix).all() for matrix in alike.columns)
    nothing = cp_als(distribute(torch.zeros(3, 4, 5), Grid((1, 1, 1))), 2, sweeps=2)
    assert nothing.errors == [0.0, 0.0]
    assert not cp_dense(nothing.columns).any()


def test_random_terms_follow_those_of_the_start_and_the_last_sweep_is_one_that_gains_little() -> None:
    given = distribute(planted((6, 8, 10), 3), Grid((1, 1, 1)))
    some = cp_als(given, 2, sweeps=50, start=start_of((6, 8, 10), 2), tolerance=1e-2)
    assert 2 < len(some.errors) < 50
    assert some.errors[-2] - some.errors[-1] <= 1e-2 * some.errors[-1]
    assert all(before - after > 1e-2 * after for before, after in zip(some.errors[:-2], some.errors[1:-1], strict=True))
    more = cp_als(given, 3, sweeps=20, start=some.columns)
    assert more.errors[0] < some.errors[-1]


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (start_of((4, 5), 3), "got columns (4, 3), (5, 3) to start from, wanted (4, r), (5, r) with r of at most 2"),
        (start_of((4, 6), 2), "got columns (4, 2), (6, 2) to start from, wanted (4, r), (5, r) with r of at most 2"),
        ([noise(4, 1), noise(5, 2)], "got columns (4, 1), (5, 2) to start from, wanted"),
        (start_of((4,), 2), "got columns (4, 2) to start from, wanted (4, r), (5, r)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(start: list[Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        cp_als(distribute(noise(4, 5), Grid((1, 1))), 2, sweeps=1, start=start)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6), (3, 4, 2, 5), (2, 3, 2, 2, 3)])
def test_products_of_a_sweep(shape: tuple[int, ...]) -> None:
    tensor, factors = noise(*shape), [noise(side, 3, seed=9) for side in shape]
    now = list(factors)

    def update(mode: int, products: Tensor) -> Tensor:
        others = khatri_rao([matrix for other, matrix in enumerate(now) if other != mode])
        assert distance(products, unfold(tensor, mode) @ others.T) < 1e-12
        now[mode] = noise(shape[mode], 3, seed=100 + mode)
        return now[mode]

    sweep(tensor, factors, update)
    assert all(torch.equal(new, wanted) for new, wanted in zip(factors, now, strict=True))
    assert sweep_flops(shape, 3) >= 4 * tensor.numel() * 3


def test_the_grid_that_shortens_the_khatri_rao_product() -> None:
    assert best_grid((512, 512, 512), 32, 2) == (1, 1, 2)
