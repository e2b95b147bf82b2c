"""Multi-TTM: a tensor times a matrix along every mode, on the grid that communicates least.

Al Daas, Ballard, Grigori, Kumar and Rouse, "Communication lower bounds and optimal algorithms for multiple
tensor-times-matrix computation" (SIAM Journal on Matrix Analysis and Applications 2024). Y = X x_1 A_1' ... x_d A_d'
for X (n_1, ..., n_d) and A_i (n_i, r_i); P = p_1 ... p_d q_1 ... q_d ranks form a 2d-way grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tnbench.distributed.collectives import Group, all_gather, rank_in, reduce_scatter, size
from tnbench.distributed.grid import (
    Distributed,
    Grid,
    block,
    block_shape,
    factorisations,
    gather,
    padded,
    piece,
)
from tnbench.distributed.volume import Volume, call, total
from tnbench.linalg.multilinear import mode_product

Sides = tuple[int, ...]
"""p_1, ..., p_d, q_1, ..., q_d."""


class Operands(NamedTuple):
    """What one rank has before: its share of its block of X, flat, and of its block of each A_i."""

    tensor: Tensor
    matrices: tuple[Tensor, ...]


def shares(tensor: Tensor, matrices: Sequence[Tensor], grid: Grid) -> Operands:
    """This rank's shares of operands that every rank has.

    A block of X (n_i / p_i, ...) is spread over the q ranks that need it, one of A_i (n_i / p_i, r_i / q_i) over the
    P / (p_i q_i) that do; all are padded with zeros where they must be.
    """
    d = tensor.dim()
    p, at = grid.sides[:d], grid.coordinates
    mine = tensor
    for mode in range(d):
        mine = piece(mine, mode, p[mode], at[mode])
    parts = []
    for mode, matrix in enumerate(matrices):
        own = piece(piece(matrix, 0, p[mode], at[mode]), 1, grid.sides[d + mode], at[d + mode])
        parts.append(_share(own, grid.along(*_others(d, mode))))
    return Operands(_share(mine, grid.along(*range(d, 2 * d))), tuple(parts))


def multi_ttm(given: Operands, shape: Sequence[int], ranks: Sequence[int], grid: Grid) -> Tensor:
    """This rank's share of its block of Y, flat: blocks (r_i / q_i, ...) over the q grid, shared by p ranks each.

    The ranks gather their blocks of X and of every A_i, multiply them, those matrices first that make the tensor
    smallest, and reduce-scatter the sums. With `best_grid` the words are the least there are, but for a constant near
    1; see `multi_ttm_cost`, and `collected` for the whole.
    """
    d = len(shape)
    rows, columns = block_shape(shape, grid.sides[:d]), block_shape(ranks, grid.sides[d:])
    product = _whole(given.tensor, rows, grid.along(*range(d, 2 * d)))
    matrices = [
        _whole(part, (rows[mode], columns[mode]), grid.along(*_others(d, mode)))
        for mode, part in enumerate(given.matrices)
    ]
    for mode in _order(rows, columns):
        product = mode_product(product, matrices[mode].T, mode)
    group = grid.along(*range(d))
    flat = product.flatten()
    return reduce_scatter(padded(flat, 0, size(group) * block(len(flat), size(group))), 0, group)


def collected(share: Tensor, ranks: Sequence[int], grid: Grid) -> Tensor:
    """Y (r_1, ..., r_d) on every rank, from what `multi_ttm` gave each."""
    d = len(ranks)
    columns = block_shape(ranks, grid.sides[d:])
    mine = _whole(share, columns, grid.along(*range(d)))
    return gather(Distributed(mine, tuple(ranks), _part(grid, d)))


def multi_ttm_cost(shape: Sequence[int], ranks: Sequence[int], sides: Sides) -> Volume:
    """Of `multi_ttm`: n/p words gathered, Σ n_i r_i / (p_i q_i) gathered, r/q reduce-scattered, blocks rounded up."""
    return total(
        [call(words, ranks_, words) for words, ranks_ in _payloads(shape, ranks, sides)] + [_work(shape, ranks, sides)]
    )


def moved(shape: Sequence[int], ranks: Sequence[int], sides: Sides) -> float:
    """Words that a rank receives or sends: n/p + r/q + Σ n_i r_i / (p_i q_i) without what it has at the start or end.

    Of each payload one part in as many as there are ranks is its own; without rounding these are
    (n + r + Σ n_i r_i) / P together.
    """
    return sum(words * (1 - 1 / count) for words, count in _payloads(shape, ranks, sides))


def least_moved(shape: Sequence[int], ranks: Sequence[int], count: int) -> float:
    """The lower bound of `moved` over all algorithms that start and end with even shares and split the work evenly.

    The sum of a matrix's needs is least, over sides whose product is Π n_i r_i / P, with none above n_i r_i; that of
    the tensors' likewise, over two whose product is n r / P.
    """
    products = [n * r for n, r in zip(shape, ranks, strict=True)]
    n, r = math.prod(shape), math.prod(ranks)
    held = (n + r + sum(products)) / count
    return max(0.0, _least_sum(products, count) + _least_sum([n, r], count) - held)


def best_grid(shape: Sequence[int], ranks: Sequence[int], count: int) -> Sides:
    """The grid of `count` ranks on which a rank moves fewest words, of equals that with least arithmetic.

    >>> best_grid((64, 8, 8), (2, 2, 2), 2)
    (2, 1, 1, 1, 1, 1)
    """
    limits = (*shape, *ranks)
    fitting = [
        sides
        for sides in factorisations(count, len(limits))
        if all(side <= limit for side, limit in zip(sides, limits, strict=True))
    ]
    if not fitting:
        raise ValueError(
            f"got {count} ranks for sides {limits}, wanted a grid with at most one rank per row and column"
        )
    return min(fitting, key=lambda sides: (moved(shape, ranks, sides), _work(shape, ranks, sides).flops))


def multi_ttm_of(tensor: Tensor, matrices: Sequence[Tensor], group: Group = None) -> Tensor:
    """Y on every rank, from operands that every rank has, on the best grid."""
    shape, ranks = tuple(tensor.shape), tuple(matrix.shape[1] for matrix in matrices)
    grid = Grid(best_grid(shape, ranks, size(group)), group)
    return collected(multi_ttm(shares(tensor, matrices, grid), shape, ranks, grid), ranks, grid)


def _payloads(shape: Sequence[int], ranks: Sequence[int], sides: Sides) -> list[tuple[int, int]]:
    """Words and ranks of each collective, in order."""
    d = len(shape)
    p, q = sides[:d], sides[d:]
    P = math.prod(sides)
    rows, columns = block_shape(shape, p), block_shape(ranks, q)
    tensor = (math.prod(rows), math.prod(q))
    matrices = [(rows[mode] * columns[mode], P // (p[mode] * q[mode])) for mode in range(d)]
    result = (math.prod(columns), math.prod(p))
    return [(count * block(words, count), count) for words, count in (tensor, *matrices, result)]


def _work(shape: Sequence[int], ranks: Sequence[int], sides: Sides) -> Volume:
    d = len(shape)
    rows, columns = list(block_shape(shape, sides[:d])), block_shape(ranks, sides[d:])
    flops = 0.0
    for mode in _order(tuple(rows), columns):
        flops += 2.0 * math.prod(rows) * columns[mode]
        rows[mode] = columns[mode]
    return Volume(flops)


def _order(rows: Sequence[int], columns: Sequence[int]) -> list[int]:
    return sorted(range(len(rows)), key=lambda mode: columns[mode] / rows[mode])


def _least_sum(limits: Sequence[int], count: int) -> float:
    """The least Σ a_i with Π a_i >= Π limits / count, a_i <= limit_i: small limits reached, the others equal."""
    rising = sorted(map(float, limits))
    left = math.log(math.prod(limits)) - math.log(count)
    for done, limit in enumerate(rising):
        level = math.exp(left / (len(rising) - done))
        if level <= limit:
            return sum(rising[:done]) + (len(rising) - done) * level
        left -= math.log(limit)
    return sum(rising)


def _others(d: int, mode: int) -> list[int]:
    """The modes of the grid in which the ranks that need the same block of A_i differ."""
    return [axis for axis in range(2 * d) if axis not in (mode, d + mode)]


def _share(own: Tensor, group: Group) -> Tensor:
    return piece(own.flatten(), 0, size(group), rank_in(group)).contiguous()


def _whole(share: Tensor, shape: Sequence[int], group: Group) -> Tensor:
    return all_gather(share, 0, group)[: math.prod(shape)].reshape(tuple(shape))


def _part(grid: Grid, d: int) -> Grid:
    """The grid of the q coordinates, for this rank's p."""
    return Grid(grid.sides[d:], grid.along(*range(d, 2 * d)))
