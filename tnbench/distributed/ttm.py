"""The product of a tensor over a grid with a matrix along one mode."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from tnbench.distributed.collectives import reduce_scatter
from tnbench.distributed.grid import Distributed, block, block_shape, padded, piece
from tnbench.distributed.volume import Volume, call, total
from tnbench.linalg.multilinear import mode_product


def truncated(given: Distributed, factor: Tensor, mode: int) -> Distributed:
    """The tensor times `factor`' along `mode`: its side n becomes r, for a `factor` (n, r) that every rank has.

    TuckerMPI (Ballard, Klinvex and Kolda, 2020): each rank multiplies by its rows of the factor, and the ranks along
    the mode reduce-scatter the sums. Costs 2 r J n / P flops; see `truncated_cost`.
    """
    ranks, at = given.grid.sides[mode], given.grid.coordinates[mode]
    shape = (*given.shape[:mode], factor.shape[1], *given.shape[mode + 1 :])
    rows = padded(piece(factor, 0, ranks, at), 1, ranks * block(factor.shape[1], ranks))
    local = mode_product(given.local, rows.T, mode)
    if ranks > 1:
        local = reduce_scatter(local, mode, given.grid.along(mode))
    return Distributed(local, shape, given.grid)


def truncated_cost(shape: Sequence[int], sides: Sequence[int], mode: int, rank: int) -> Volume:
    """Of `truncated` from `shape` to a side `rank`: a block with the side P_n ceil(r / P_n) reduce-scattered."""
    local, ranks = block_shape(shape, sides), sides[mode]
    columns = ranks * block(rank, ranks)
    words = math.prod(local) // local[mode] * columns
    return total([Volume(2.0 * math.prod(local) * columns), call(words, ranks, words)])
