"""Tensor trains over ranks: TT-SVD, the binary tree, and rounding, beside their twins on one rank."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from decomposed import Counts, counted, decaying, distance, is_cost, noise
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed import tt_rounding, tt_svd, tt_tree
from tnbench.distributed.grid import Grid, distribute
from tnbench.distributed.pool import RankPool
from tnbench.linalg import tt
from tnbench.linalg import tt_rounding as rounding_alone

TRAINS = [
    ((6, 5, 4, 7), (3, 5, 4)),
    ((4, 3, 5), (2, 3)),
    ((20, 3, 2), (5, 2)),
    ((9, 2, 2, 2), (8, 4, 2)),
    ((3, 4, 3, 2, 3, 4), (2, 4, 5, 4, 3)),
    ((5, 6), (3,)),
]
ROUNDED = [((6, 5, 4, 7), (4, 6, 5), (2, 3, 2)), ((3, 9, 2), (3, 2), None), ((3, 2, 5), (9, 8), (2, 3))]
Answers = list[dict[str, tuple[Any, Counts]]]


def train(sizes: tuple[int, ...], bonds: tuple[int, ...]) -> tuple[Tensor, ...]:
    outer = (1, *bonds, 1)
    return tuple(noise(outer[at], side, outer[at + 1], seed=50 + at) for at, side in enumerate(sizes))


def decomposed(crew: Crew) -> dict[str, tuple[Any, Counts]]:
    found: dict[str, tuple[Any, Counts]] = {}
    for sizes, bonds in TRAINS:
        tensor = decaying(*sizes)
        given = distribute(tensor, tt_svd.last_mode_grid(len(sizes)))
        found[f"svd {sizes}"] = counted(partial(tt_svd.tt_svd, given, bonds))
        found[f"tree {sizes}"] = counted(partial(tt_tree.tt_tree, tensor, bonds))
    for sizes, bonds, ranks in ROUNDED:
        for tolerance in (0.0, 0.4):
            slices = tt_rounding.spread(train(sizes, bonds))
            round_ = partial(tt_rounding.tt_round, slices, sizes, ranks=ranks, tolerance=tolerance)
            rounded, counts = counted(round_)
            found[f"round {sizes} {tolerance}"] = tt_rounding.collected(rounded, sizes), counts
    return found


def check(answers: Answers, ranks: int) -> None:
    for sizes, bonds in TRAINS:
        tensor = decaying(*sizes)
        wanted = tt.contract(tt.tt_svd(tensor, bonds))
        same(answers, f"svd {sizes}", wanted, tt_svd.tt_svd_cost(sizes, bonds, ranks))
        lone = tt.contract(tt_tree.tt_tree(tensor, bonds))
        same(answers, f"tree {sizes}", lone, tt_tree.tt_tree_cost(sizes, bonds, ranks))
    for sizes, bonds, most in ROUNDED:
        for tolerance in (0.0, 0.4):
            twin = rounding_alone.tt_round(train(sizes, bonds), ranks=most, tolerance=tolerance)
            got = tuple(core.shape[2] for core in twin[:-1])
            cost = tt_rounding.tt_round_cost(bonds, sizes, got, ranks)
            cores = same(answers, f"round {sizes} {tolerance}", tt.contract(twin), cost)
            assert [core.shape for core in cores] == [core.shape for core in twin]


def same(answers: Answers, name: str, wanted: Tensor, cost: Any) -> tuple[Tensor, ...]:
    for found in answers:
        assert distance(tt.contract(found[name][0]), wanted) < 1e-10, name
    assert is_cost([found[name][1] for found in answers], cost), (name, [f[name][1] for f in answers], cost)
    cores: tuple[Tensor, ...] = answers[0][name][0]
    return cores


def test_trains_on_two_ranks(two_ranks: RankPool) -> None:
    check(two_ranks.run(decomposed), 2)


def test_trains_on_four_ranks(four_ranks: RankPool) -> None:
    check(four_ranks.run(decomposed), 4)


def test_trains_alone() -> None:
    check([decomposed(Crew(0, 1, torch.device("cpu"), 1, torch.nn.Module, int))], 1)


@pytest.mark.parametrize(("sizes", "bonds"), TRAINS)
def test_a_tree_is_nearly_as_good_as_it_can_be(sizes: tuple[int, ...], bonds: tuple[int, ...]) -> None:
    tensor = decaying(*sizes)
    left_out = [
        torch.linalg.svdvals(matrix)[rank:].square().sum()
        for matrix, rank in zip(tt.unfoldings(tensor), bonds, strict=True)
    ]
    error = float((tt.contract(tt_tree.tt_tree(tensor, bonds)) - tensor).norm())
    assert error <= math.sqrt(float(sum(left_out))) * (1 + 1e-9) + 1e-10


def test_a_tree_of_full_ranks_is_exact() -> None:
    tensor = noise(3, 4, 2, 3)
    cores = tt_tree.tt_tree(tensor, tt.largest_ranks(tensor.shape))
    assert distance(tt.contract(cores), tensor) < 1e-10


@pytest.mark.parametrize(
    ("sizes", "bonds", "sides"),
    [((9, 8, 7), (9, 7), [9, 7]), ((5, 6), (3,), [5]), ((6, 5), (3,), [5]), ((2, 3, 4, 5), (2, 6, 5), [6, 2, 5])],
)
def test_a_tree_takes_eigenvectors_of_the_shorter_sides(
    sizes: tuple[int, ...], bonds: tuple[int, ...], sides: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, eigh = [], torch.linalg.eigh

    def watched(matrix: Tensor) -> Any:
        taken.append(len(matrix))
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", watched)
    tt_tree.tt_tree(decaying(*sizes), bonds)
    assert taken == sides


def test_rounding_keeps_what_a_deficient_train_has() -> None:
    first, second, third = train((3, 2, 5), (4, 4))
    second[:, 0] = 0  # as QR decompositions without pivots do not like it
    cores = (first, second, third)
    rounded = tt_rounding.tt_round(cores, (3, 2, 5), tolerance=1e-12)
    assert distance(tt.contract(rounded), tt.contract(cores)) < 1e-10


def on_another_grid(crew: Crew) -> str:
    with pytest.raises(ValueError, match="got a grid") as caught:
        tt_svd.tt_svd(distribute(noise(2, 2), Grid((crew.world, 1))), (1,))
    return str(caught.value)


def test_what_cannot_be_decomposed_is_refused(two_ranks: RankPool) -> None:
    assert two_ranks.run(on_another_grid) == ["got a grid with sides (2, 1), wanted all ranks along the last mode"] * 2
    with pytest.raises(ValueError, match=r"TT ranks of a tensor \(2, 2\): got \(3,\), wanted at most \(2,\)"):
        tt_svd.tt_svd(distribute(noise(2, 2), Grid((1, 1))), (3,))


def in_single_precision(crew: Crew) -> list[tuple[Tensor, ...]]:
    sizes, bonds = TRAINS[0]
    tensor = decaying(*sizes).float()
    slices = tt_rounding.spread([core.float() for core in train(sizes, bonds)])
    rounded = tt_rounding.collected(tt_rounding.tt_round(slices, sizes, ranks=(2, 3, 2)), sizes)
    return [tt_svd.tt_svd_of(tensor, bonds), tt_tree.tt_tree(tensor, bonds), rounded]


def test_trains_in_single_precision(two_ranks: RankPool) -> None:
    sizes, bonds = TRAINS[0]
    wanted = [
        tt.tt_svd(decaying(*sizes), bonds),
        tt_tree.tt_tree(decaying(*sizes), bonds),
        rounding_alone.tt_round(train(sizes, bonds), ranks=(2, 3, 2)),
    ]
    for found in two_ranks.run(in_single_precision):
        for got, twin in zip(found, wanted, strict=True):
            assert all(core.dtype == torch.float32 for core in got)
            assert distance(tt.contract(got).double(), tt.contract(twin)) < 1e-5
