"""TT-SVD of a tensor whose last mode is spread over ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, size
from tnbench.distributed.gram import local_gram
from tnbench.distributed.grid import Distributed, Grid, block, distribute, gather, gather_cost
from tnbench.distributed.triangle import reduced, reduced_cost
from tnbench.distributed.volume import Volume, total
from tnbench.linalg.tt import check_ranks
from tnbench.linalg.tt import tt_svd as tt_svd_alone

_EIGH = 9.0


def last_mode_grid(modes: int, group: Group = None) -> Grid:
    """All ranks along the last of `modes` modes: 1 x ... x 1 x P."""
    return Grid((*[1] * (modes - 1), size(group)), group)


def tt_svd(given: Distributed, ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """Cores (r_{j-1}, n_j, r_j) on every rank, of a tensor over `last_mode_grid`.

    As `tnbench.linalg.tt.tt_svd` (Oseledets, "Tensor-train decomposition", 2011): from the left, while what is split
    off is the smaller side, with its Gram matrix summed over the ranks' columns, of which half travels, and the same
    eigenvectors on all; no entry of the tensor moves. What is left then is no larger than such a matrix: every rank
    gathers it and decomposes it alone.

    Costs J r n (r n + 1) / P + 2 J r' r n / P flops for each bond on the left, J the columns of its unfolding, and
    r n (r n + 1) / 2 words; see `tt_svd_cost`.
    """
    check_ranks(given.shape, ranks)
    if math.prod(given.grid.sides[:-1]) != 1:
        raise ValueError(f"got a grid with sides {given.grid.sides}, wanted all ranks along the last mode")
    lefts: list[Tensor] = []
    bond, local = 1, given.local
    for mode in range(_from_left(given.shape, ranks)):
        matrix = local.reshape(bond * given.shape[mode], -1)
        frame = _leading(matrix, ranks[mode], given.grid.group)
        lefts.append(frame.reshape(bond, given.shape[mode], -1))
        local, bond = frame.T @ matrix, ranks[mode]
    done = len(lefts)
    inner = given.shape[done:]
    left_over = (bond * inner[0], *inner[1:])
    if done + 1 == len(given.shape):  # the last core alone, of which its physical mode is spread
        rest = Distributed(local.reshape(bond, -1), (bond, inner[0]), last_mode_grid(2, given.grid.group))
        return *lefts, gather(rest)[..., None]
    sides = (left_over[0], *inner[1:-1], local.numel() // math.prod((left_over[0], *inner[1:-1])))
    rest = Distributed(local.reshape(sides), left_over, last_mode_grid(len(inner), given.grid.group))
    first, *others = tt_svd_alone(gather(rest), ranks[done:])
    return *lefts, first.reshape(bond, inner[0], -1), *others


def tt_svd_of(tensor: Tensor, ranks: Sequence[int], group: Group = None) -> tuple[Tensor, ...]:
    """`tt_svd` of a tensor that every rank has."""
    return tt_svd(distribute(tensor, last_mode_grid(tensor.dim(), group)), ranks)


def tt_svd_cost(shape: Sequence[int], bonds: Sequence[int], ranks: int) -> Volume:
    """Of `tt_svd` with these `bonds` over `ranks` ranks."""
    steps: list[Volume] = []
    bond, done = 1, _from_left(shape, bonds)
    for mode in range(done):
        rows = bond * shape[mode]
        columns = math.prod(shape[mode + 1 : -1]) * block(shape[-1], ranks)
        if bonds[mode] < rows:
            steps += [
                Volume(float(columns) * rows * (rows + 1) + _EIGH * rows**3),
                reduced_cost(rows, ranks),
                Volume(2.0 * columns * rows * bonds[mode]),
            ]
        bond = bonds[mode]
    return total([*steps, gather_cost((bond, *shape[done:]), (*[1] * (len(shape) - done), ranks))])


def _from_left(shape: Sequence[int], ranks: Sequence[int]) -> int:
    """How many bonds are cut while what is split off is the smaller side."""
    bonds = (1, *ranks)
    for mode in range(len(shape) - 1):
        if bonds[mode] * shape[mode] > math.prod(shape[mode + 1 :]):
            return mode
    return len(shape) - 1


def _leading(matrix: Tensor, rank: int, group: Group) -> Tensor:
    """Leading left singular vectors (m, r) of all ranks' columns (m, n_p); the identity where r = m."""
    if rank == len(matrix):
        return torch.eye(rank, dtype=matrix.dtype, device=matrix.device)
    vectors: Tensor = torch.linalg.eigh(reduced(local_gram(matrix, 0), group))[1]
    return vectors.flip(1)[:, :rank]
