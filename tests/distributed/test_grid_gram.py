"""Blocks over a grid: distributing and gathering, Gram matrices of unfoldings, products along a mode, QR."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from decomposed import Counts, counted, decaying, distance, is_cost, noise
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import rank_in, size
from tnbench.distributed.counter_normal import normal
from tnbench.distributed.gram import gram, gram_cost, local_gram
from tnbench.distributed.grid import Grid, distribute, factorisations, gather, gather_cost, subgroup
from tnbench.distributed.pool import RankPool
from tnbench.distributed.sketch import global_index, range_finder, range_finder_cost
from tnbench.distributed.triangle import packed, symmetric, upper
from tnbench.distributed.tsqr import triangle_of, tsqr, tsqr_cost
from tnbench.distributed.ttm import truncated, truncated_cost
from tnbench.linalg.multilinear import mode_product, unfold
from tnbench.linalg.range_finder import range_finder as range_finder_alone

SHAPES = [(4, 6, 8), (5, 7, 3), (3, 5), (3, 2, 5, 3)]
Checks = dict[str, tuple[Any, Counts]]


def grids(shape: tuple[int, ...], ranks: int) -> list[tuple[int, ...]]:
    return list(factorisations(ranks, len(shape)))


def on_grids(crew: Crew, shapes: list[tuple[int, ...]]) -> Checks:
    found = {}
    for shape in shapes:
        for sides in grids(shape, crew.world):
            found |= on_grid(shape, Grid(sides))
    return found


def on_grid(shape: tuple[int, ...], grid: Grid) -> Checks:
    tensor, name = noise(*shape), f"{shape} {grid.sides}"
    given = distribute(tensor, grid)
    found = {f"gather {name}": counted(lambda: gather(given))}
    for mode, side in enumerate(shape):
        found[f"gram {name} {mode}"] = counted(partial(gram, given, mode))
        factor = noise(side, max(1, side - 2), seed=3)
        product, counts = counted(partial(truncated, given, factor, mode))
        found[f"ttm {name} {mode}"] = gather(product), counts
        found[f"sketch {name} {mode}"] = counted(partial(range_finder, given, mode, 2, seed=5, oversample=1))
    return found


def check_grids(answers: list[Checks], shapes: list[tuple[int, ...]], ranks: int) -> None:
    for shape in shapes:
        tensor = noise(*shape)
        for sides in grids(shape, ranks):
            name = f"{shape} {sides}"
            check(answers, f"gather {name}", tensor, gather_cost(shape, sides))
            for mode, side in enumerate(shape):
                matrix = unfold(tensor, mode)
                check(answers, f"gram {name} {mode}", matrix @ matrix.T, gram_cost(shape, sides, mode))
                factor = noise(side, max(1, side - 2), seed=3)
                product = mode_product(tensor, factor.T, mode)
                check(answers, f"ttm {name} {mode}", product, truncated_cost(shape, sides, mode, factor.shape[1]))
                sketch = range_finder(distribute(tensor, Grid((1,) * len(shape))), mode, 2, seed=5, oversample=1)
                cost = range_finder_cost(shape, sides, mode, 2, oversample=1)
                check(answers, f"sketch {name} {mode}", sketch, cost)


def check(answers: list[Checks], name: str, wanted: Tensor, cost: Any) -> None:
    for found in answers:
        assert distance(found[name][0], wanted) < 1e-10, name
    assert is_cost([found[name][1] for found in answers], cost), (name, [f[name][1] for f in answers], cost)


def test_blocks_on_two_ranks(two_ranks: RankPool) -> None:
    check_grids(two_ranks.run(partial(on_grids, shapes=SHAPES)), SHAPES, 2)


def test_blocks_on_four_ranks(four_ranks: RankPool) -> None:
    check_grids(four_ranks.run(partial(on_grids, shapes=[(5, 7, 3)])), [(5, 7, 3)], 4)


def test_blocks_alone() -> None:
    check_grids([{**on_grid(shape, Grid((1,) * len(shape)))} for shape in [SHAPES[0]]], [SHAPES[0]], 1)


def test_a_grid_of_other_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="got a grid 2x1 for 1 ranks, wanted sides whose product"):
        Grid((2, 1))


@pytest.mark.parametrize("shape", [(150, 70), (3, 150, 70), (3, 150, 9), (150, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_local_gram_matrices(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = noise(*shape)
    for mode in range(len(shape)):
        matrix = unfold(tensor, mode)
        got = local_gram(tensor.to(dtype), mode)
        assert got.dtype == dtype
        assert torch.equal(got, got.T)
        assert distance(got.double(), matrix @ matrix.T) < (1e-6 if dtype == torch.float32 else 1e-14)


def test_triangles_are_packed_and_unpacked() -> None:
    matrix = noise(5, 5)
    even = matrix + matrix.T
    assert torch.equal(symmetric(packed(even), 5), even)
    assert torch.equal(upper(packed(matrix), 5), matrix.triu())


# Each rank has (rows of its own, columns).
TALL = [(6, 4), (2, 4), (1, 5)]


def qr(crew: Crew, members: tuple[int, ...]) -> list[Any]:
    if crew.rank not in members:
        return []
    group, found = subgroup(members, None), []
    for rows, columns in TALL:
        whole = decaying(rows * len(members), columns)
        mine = whole[rank_in(group) * rows :][:rows]
        (basis, top), counts = counted(partial(tsqr, mine, group))
        found.append((basis, top, triangle_of(mine, group), counts, size(group)))
    return found


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_tsqr(four_ranks: RankPool, ranks: int) -> None:
    answers = [found for found in four_ranks.run(partial(qr, members=tuple(range(ranks)))) if found]
    for at, (rows, columns) in enumerate(TALL):
        whole = decaying(rows * ranks, columns)
        bases, tops, alone, counts, sizes = zip(*(found[at] for found in answers), strict=True)
        basis = torch.cat(bases)
        assert set(sizes) == {ranks}
        for top, lone in zip(tops, alone, strict=True):
            assert torch.equal(top, tops[0])
            assert torch.equal(top, top.triu())
            assert torch.all(top.diagonal() >= 0)
            assert distance(basis @ top, whole) < 1e-12
            assert distance(lone, top) < 1e-12
        if len(whole) >= columns:
            assert distance(basis.T @ basis, torch.eye(columns, dtype=torch.float64)) < 1e-12
        assert is_cost(list(counts), tsqr_cost(rows, columns, ranks))


def test_a_sketch_finds_what_a_dense_one_does() -> None:
    tensor = decaying(9, 8, 7)
    basis = range_finder(distribute(tensor, Grid((1, 1, 1))), 1, 3, seed=0, oversample=3)
    matrix = unfold(tensor, 1)
    ours, theirs = (
        matrix - found @ (found.T @ matrix) for found in (basis, range_finder_alone(matrix, 3, seed=0, oversample=3))
    )
    assert distance(basis.T @ basis, torch.eye(6, dtype=torch.float64)) < 1e-12
    assert ours.norm() < 1.05 * theirs.norm()


class Calls(TorchDispatchMode):
    """How many operations torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def calls_of_a_sketch(shape: tuple[int, ...], mode: int) -> int:
    given = distribute(noise(*shape), Grid((1, 1, 1)))
    with Calls() as calls:
        range_finder(given, mode, 2, seed=0)
    return calls.number


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_sketch_of_more_short_columns_takes_no_more_products(mode: int) -> None:
    assert calls_of_a_sketch((6, 7, 20), mode) == calls_of_a_sketch((12, 14, 20), mode)


def test_counted_numbers_are_normal() -> None:
    numbers = normal((1, 2), torch.arange(40_000))
    assert numbers.mean().abs() < 3 / 200
    assert (numbers.std() - 1).abs() < 3 / math.sqrt(80_000)
    assert (numbers.pow(4).mean() - 3).abs() < 0.15
    assert torch.equal(normal((1, 2), torch.tensor([7, 5])), numbers[[7, 5]])
    assert not torch.equal(normal((1, 3), torch.arange(5)), numbers[:5])


def test_columns_know_their_place() -> None:
    given = distribute(noise(3, 4, 5), Grid((1, 1, 1)))
    assert torch.equal(global_index(given, 1), torch.arange(15))
