"""TT rounding with every core spread over ranks on its physical mode."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_gather, all_reduce, rank_in, size
from tnbench.distributed.grid import block, piece
from tnbench.distributed.tsqr import tsqr, tsqr_cost
from tnbench.distributed.volume import Volume, call, total
from tnbench.linalg.tt import useful_ranks
from tnbench.linalg.tt_rounding import least_rank


def spread(cores: Sequence[Tensor], group: Group = None) -> tuple[Tensor, ...]:
    """This rank's slices (r, ceil(n / P), r') of cores (r, n, r') that every rank has, zero beyond their sides."""
    return tuple(piece(core, 1, size(group), rank_in(group)) for core in cores)


def collected(slices: Sequence[Tensor], sizes: Sequence[int], group: Group = None) -> tuple[Tensor, ...]:
    """The whole cores (r, n, r') on every rank, `sizes` their n."""
    return tuple(all_gather(core, 1, group)[:, :side] for core, side in zip(slices, sizes, strict=True))


def tt_round(
    slices: Sequence[Tensor],
    sizes: Sequence[int],
    *,
    ranks: Sequence[int] | None = None,
    tolerance: float = 0.0,
    group: Group = None,
) -> tuple[Tensor, ...]:
    """This rank's slices (r'_{j-1}, m_j, r'_j) of a train of smaller ranks, from its slices (r_{j-1}, m_j, r_j).

    `sizes` n_j are the physical modes' of the whole train, m_j = ceil(n_j / P): see `spread`. The sweeps are those of
    `tnbench.linalg.tt_rounding.tt_round`, and `ranks` and `tolerance` mean the same: a QR decomposition per bond from
    the right, a truncated SVD per bond from the left, with TSQR in the place of QR (Al Daas, Ballard and Benner,
    "Parallel algorithms for tensor train arithmetic", SIAM Journal on Scientific Computing 2022). SVDs of r×r triangles
    are done by every rank. Outer ranks are 1.

    A bond costs some 12 m r³ flops and r(r+1)/2 words for each of log2 P exchanges, twice; see `tt_round_cost`.
    """
    rest = list(slices)
    _orthonormalise_from_right(rest, group)
    bonds = [core.shape[2] for core in slices[:-1]]
    most = useful_ranks(sizes, bonds if ranks is None else list(map(min, bonds, ranks)))
    norm = float(all_reduce(rest[0].square().sum()[None], group).sqrt())
    allowed = tolerance * norm / math.sqrt(max(1, len(bonds)))
    for bond in range(len(bonds)):
        before, length, after = rest[bond].shape
        basis, top = tsqr(rest[bond].reshape(before * length, after), group)
        left, values, right = torch.linalg.svd(top)
        rank = min(least_rank(values, allowed), most[bond], before * sizes[bond])
        rest[bond] = (basis @ left[:, :rank]).reshape(before, length, rank)
        rest[bond + 1] = torch.tensordot(values[:rank, None] * right[:rank], rest[bond + 1], dims=1)
    return tuple(rest)


def tt_round_cost(bonds: Sequence[int], sizes: Sequence[int], rounded: Sequence[int], ranks: int) -> Volume:
    """Of `tt_round` from a train with `bonds` to one with bonds `rounded`, over `ranks` ranks."""
    before, after, lengths = (1, *bonds, 1), (1, *rounded, 1), [block(side, ranks) for side in sizes]
    steps = [call(1, ranks)]
    for bond, n in enumerate(bonds):
        backwards = tsqr_cost(lengths[bond + 1] * before[bond + 2], n, ranks)
        forwards = tsqr_cost(after[bond] * lengths[bond], n, ranks)
        r = rounded[bond]
        products = (
            2.0 * before[bond] * lengths[bond] * n * n
            + 2.0 * after[bond] * lengths[bond] * n * r
            + 2.0 * r * n * lengths[bond + 1] * before[bond + 2]
        )
        steps += [backwards, forwards, Volume(products + 22.0 * n**3)]
    return total(steps)


def _orthonormalise_from_right(cores: list[Tensor], group: Group) -> None:
    """Give all cores but the first orthonormal rows (r, n r'), as far as what is before them reaches; in place."""
    for bond in range(len(cores) - 1, 0, -1):
        before, length, after = cores[bond].shape
        basis, top = tsqr(cores[bond].reshape(before, length * after).T, group)
        cores[bond] = basis.T.reshape(before, length, after)
        cores[bond - 1] = torch.tensordot(cores[bond - 1], top.T, dims=1)
