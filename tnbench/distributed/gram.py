"""The Gram matrix of an unfolding, of a tensor on one rank and of one over a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import all_to_all
from tnbench.distributed.grid import Distributed, block, block_shape, padded
from tnbench.distributed.triangle import reduced, reduced_cost
from tnbench.distributed.volume import Volume, call, total

_ROWS = 128
"""Rows of a stripe; below its diagonal nothing is computed, so of n rows (1 + 128/n)/2 of the product is."""

_NARROW = 64
"""Columns below which a product is slower than a copy and a wider one."""


def local_gram(tensor: Tensor, mode: int) -> Tensor:
    """X_(n) X_(n)' (n, n) of the unfolding along `mode`, without unfolding: the tensor is read where it lies.

    For the first and the last mode it is one product with a view, for one between them a sum of products, one per index
    of the modes before; only where those would be too narrow is the tensor copied. By symmetry about half is computed.

    >>> local_gram(torch.ones(2, 3, 4), 1)[0].tolist()
    [8.0, 8.0, 8.0]
    """
    side, before, after = tensor.shape[mode], math.prod(tensor.shape[:mode]), math.prod(tensor.shape[mode + 1 :])
    if before > 1 and after < _NARROW:
        matrices = tensor.movedim(mode, -1).reshape(1, before * after, side).mT
    else:
        matrices = tensor.reshape(before, side, after)
    product = tensor.new_zeros(side, side)
    for start in range(0, side, _ROWS):
        stripe = product[start : start + _ROWS, start:]
        for matrix in matrices:
            stripe.addmm_(matrix[start : start + _ROWS], matrix[start:].T)
    return product.triu_().add_(product.triu(1).T)


def gram(given: Distributed, mode: int) -> Tensor:
    """X_(n) X_(n)' (n, n) on every rank.

    TuckerMPI (Ballard, Klinvex and Kolda, ACM TOMS 2020): the ranks along the mode exchange what they have, so that
    each has all rows and a P_n-th of the columns, by one all-to-all of a block's words; then products are local, and
    half of the matrix is all-reduced. Where P_n = 1 no entry of the tensor moves. Costs J n (n + 1) / P flops for J
    columns; see `gram_cost`.
    """
    summed = reduced(local_gram(redistributed(given, mode), mode), given.grid.group)
    return summed[: given.shape[mode], : given.shape[mode]]


def redistributed(given: Distributed, mode: int) -> Tensor:
    """All P_n ceil(n / P_n) rows of the unfolding and this rank's P_n-th of the columns of the block."""
    ranks = given.grid.sides[mode]
    if ranks == 1:
        return given.local
    other = _shared_mode(given.local.shape, mode)
    length = block(given.local.shape[other], ranks)
    pieces = padded(given.local, other, ranks * length).split(length, other)
    return torch.cat(all_to_all(pieces, given.grid.along(mode)), mode)


def gram_cost(shape: Sequence[int], sides: Sequence[int], mode: int) -> Volume:
    """Of `gram` on a grid with `sides`: an all-to-all of a block, where P_n > 1, and n(n+1)/2 words all-reduced."""
    moved, (rows, columns) = redistributed_cost(shape, sides, mode), redistributed_shape(shape, sides, mode)
    products = Volume(float(columns) * rows * (rows + 1))
    return total([moved, products, reduced_cost(rows, math.prod(sides))])


def redistributed_cost(shape: Sequence[int], sides: Sequence[int], mode: int) -> Volume:
    """Of `redistributed`."""
    rows, columns = redistributed_shape(shape, sides, mode)
    return call(rows * columns, sides[mode], 2 * rows * columns)


def redistributed_shape(shape: Sequence[int], sides: Sequence[int], mode: int) -> tuple[int, int]:
    """Rows and columns that a rank has after `redistributed`."""
    local, ranks = list(block_shape(shape, sides)), sides[mode]
    if ranks > 1:
        other = _shared_mode(local, mode)
        local[other] = block(local[other], ranks)
        local[mode] *= ranks
    return local[mode], math.prod(local) // local[mode]


def _shared_mode(local: Sequence[int], mode: int) -> int:
    """The mode along which the columns of a block are shared out: the longest other one, the first of several."""
    return max((other for other in range(len(local)) if other != mode), key=lambda other: local[other])
