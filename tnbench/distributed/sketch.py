"""A randomised range finder for an unfolding of a tensor over a grid; the answer does not depend on the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import all_gather, all_reduce
from tnbench.distributed.counter_normal import normal
from tnbench.distributed.grid import Distributed, block_shape, piece
from tnbench.distributed.volume import Volume, call, total

_NARROW = 64
"""Columns below which a product is slower than a copy and a wider one."""


def range_finder(
    given: Distributed, mode: int, rank: int, *, seed: int, oversample: int = 10, power: int = 2
) -> Tensor:
    """Orthonormal columns (n, min(r + oversample, n, J)) on every rank that nearly hold the leading left vectors.

    Algorithm 4.3 of Halko, Martinsson and Tropp, "Finding structure with randomness" (2011): Q of (X X')^q X Ω for the
    unfolding X (n, J), made orthonormal after each product with X X'. Ω (J, l) is a function of the seed and of where
    its entry stands in the whole matrix, so nobody sends it, and P ranks find what one finds, but for rounding; as in
    the randomised Tucker decompositions of Minster, Li and Ballard (2022).

    Costs (4 q + 2) n J l / P flops and, for each product, n l words all-reduced and gathered: `range_finder_cost`.
    """
    width = _width(given.shape, mode, rank, oversample)
    columns = global_index(given, mode)[:, None] * width + torch.arange(width, device=given.local.device)
    basis = _times(given, mode, normal((seed, mode), columns).to(given.local.dtype))
    for _ in range(power):
        basis = _times(given, mode, _transposed_times(given, mode, torch.linalg.qr(basis).Q))
    orthonormal: Tensor = torch.linalg.qr(basis).Q
    return orthonormal


def range_finder_cost(
    shape: Sequence[int], sides: Sequence[int], mode: int, rank: int, *, oversample: int = 10, power: int = 2
) -> Volume:
    """Of `range_finder`: n_p l words all-reduced over the other modes and P_n n_p l gathered along this one, q + 1
    times; where P_n > 1, also J_p l words all-reduced along it, q times.
    """
    width, local = _width(shape, mode, rank, oversample), block_shape(shape, sides)
    rows, ranks = local[mode], math.prod(sides)
    columns = math.prod(local) // rows
    product = Volume(2.0 * rows * columns * width)
    forth = [
        product,
        call(rows * width, ranks // sides[mode]),
        call(sides[mode] * rows * width, sides[mode], rows * width),
    ]
    back = [product, call(columns * width, sides[mode])]
    n = shape[mode]
    decompositions = Volume((power + 1) * 4.0 * n * width * width)
    return total([decompositions, *forth * (power + 1), *back * power])


def _width(shape: Sequence[int], mode: int, rank: int, oversample: int) -> int:
    return min(rank + oversample, shape[mode], math.prod(shape) // shape[mode])


def global_index(given: Distributed, mode: int) -> Tensor:
    """Which column of the whole unfolding along `mode` each column of this rank's block is: int64, (columns,).

    Columns beyond the tensor's sides get numbers too, which others may have: what is there is zero.
    """
    index = torch.zeros(1, dtype=torch.int64, device=given.local.device)
    for other, side in enumerate(given.shape):
        if other == mode:
            continue
        length = given.local.shape[other]
        places = given.grid.coordinates[other] * length + torch.arange(length, device=index.device)
        index = (index[:, None] * side + places).flatten()
    return index


def _times(given: Distributed, mode: int, columns: Tensor) -> Tensor:
    """X_(n) times the ranks' `columns` (J_p, l): (n, l) on every rank."""
    matrices = _matrices(given.local, mode)
    product = columns.new_zeros(matrices.shape[1], columns.shape[1])
    for matrix, rows in zip(matrices, columns.split(matrices.shape[2]), strict=True):
        product.addmm_(matrix, rows)
    product = all_reduce(product, given.grid.across(mode))
    return all_gather(product, 0, given.grid.along(mode))[: given.shape[mode]]


def _matrices(local: Tensor, mode: int) -> Tensor:
    """Of the unfolding (n, J) some columns each, in order: (J / j, n, j), a view but where that would be too narrow.

    The last mode's is one view of all columns; as in `gram.local_gram`.
    """
    side, before, after = local.shape[mode], math.prod(local.shape[:mode]), math.prod(local.shape[mode + 1 :])
    if after < _NARROW:
        return local.movedim(mode, -1).reshape(1, before * after, side).mT
    return local.reshape(before, side, after)


def _transposed_times(given: Distributed, mode: int, basis: Tensor) -> Tensor:
    """X_(n)' times `basis` (n, l): this rank's columns' part, (J_p, l)."""
    before, after = math.prod(given.local.shape[:mode]), math.prod(given.local.shape[mode + 1 :])
    ranks, at = given.grid.sides[mode], given.grid.coordinates[mode]
    rows = piece(basis, 0, ranks, at)
    matrices = given.local.reshape(before, -1, after)
    return all_reduce(torch.matmul(matrices.mT, rows).reshape(before * after, -1), given.grid.along(mode))
