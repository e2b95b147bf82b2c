"""TT-SVD: the tensor-train decomposition by one low-rank approximation per bond."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.linalg.blockwise import gram
from tnbench.linalg.low_rank import leading_left, resolution


def tt_svd(tensor: Tensor, ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """Cores (r_{j-1}, n_j, r_j) of `tensor` (n_1, ..., n_d) with inner `ranks` r_1, ..., r_{d-1}; the outer ones are 1.

    Algorithm 1 of Oseledets, "Tensor-train decomposition" (2011), from the left while what is split off is the smaller
    side, then from the right, so that every bond takes orthonormal rows of a short side and no tall matrix is
    orthogonalised. The error is at most sqrt(d - 1) times the best one, and there is none at `largest_ranks`. Cores
    are orthonormal towards the one at which the two sweeps meet. Raises ValueError for a rank above what its
    neighbours leave a use for; see `useful_ranks`.

    >>> [tuple(core.shape) for core in tt_svd(torch.ones(4, 3, 5), (2, 1))]
    [(1, 4, 2), (2, 3, 1), (1, 5, 1)]
    """
    check_ranks(tensor.shape, ranks)
    bonds = (1, *ranks, 1)
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    low, high, rest = 0, tensor.dim() - 1, tensor
    while low < high:
        rows, columns = bonds[low] * tensor.shape[low], tensor.shape[high] * bonds[high + 1]
        if rows <= rest.numel() // rows:
            frame, rest = _split(rest.reshape(rows, -1), bonds[low + 1])
            lefts.append(frame.reshape(bonds[low], tensor.shape[low], -1))
            low += 1
        else:
            frame, across = _split(rest.reshape(-1, columns).T, bonds[high])
            rest = across.T
            rights.append(frame.T.reshape(-1, tensor.shape[high], bonds[high + 1]))
            high -= 1
    return *lefts, rest.reshape(bonds[low], tensor.shape[low], bonds[high + 1]), *reversed(rights)


def largest_ranks(sizes: Sequence[int]) -> tuple[int, ...]:
    """Ranks at which a train reproduces every tensor of these sizes: the shorter side of each unfolding."""
    return tuple(min(math.prod(sizes[:bond]), math.prod(sizes[bond:])) for bond in range(1, len(sizes)))


def useful_ranks(sizes: Sequence[int], ranks: Sequence[int]) -> tuple[int, ...]:
    """`ranks` without what their neighbours leave no use for: r_j is at most r_{j-1} n_j and n_{j+1} r_{j+1}."""
    return _capped(_capped(ranks, sizes)[::-1], sizes[::-1])[::-1]


def check_ranks(sizes: Sequence[int], ranks: Sequence[int]) -> None:
    """Raise ValueError unless `ranks` are useful ones, one per bond."""
    useful = useful_ranks(sizes, ranks)
    if len(ranks) != len(sizes) - 1 or useful != tuple(ranks):
        raise ValueError(f"TT ranks of a tensor {tuple(sizes)}: got {tuple(ranks)}, wanted at most {useful}")


def unfoldings(tensor: Tensor) -> tuple[Tensor, ...]:
    """The matrices (n_1 ... n_j, n_{j+1} ... n_d) whose singular values the ranks cut, one per bond."""
    bonds = range(1, tensor.dim())
    return tuple(tensor.reshape(math.prod(tensor.shape[:bond]), -1) for bond in bonds)


def contract(cores: Sequence[Tensor]) -> Tensor:
    """The tensor (n_1, ..., n_d) of cores (r_{j-1}, n_j, r_j) whose outer ranks are 1."""
    whole = cores[0][0]
    for core in cores[1:]:
        whole = torch.tensordot(whole, core, dims=1)
    return whole[..., 0]


def leading_rows(matrix: Tensor, rank: int) -> Tensor:
    """The leading left singular vectors (m, r) of `matrix` (m, n), m <= n, in float64; the identity where r = m.

    From the Gram matrix in float64, which tells singular values of a float32 matrix from its rounding errors, and from
    an SVD where those of a float64 matrix that are left out are too small for that.
    """
    if rank == len(matrix):
        return torch.eye(rank, dtype=torch.float64, device=matrix.device)
    energies, vectors = torch.linalg.eigh(gram(matrix))
    left_out, total = float(energies[:-rank].sum()), float(energies.sum())
    if matrix.dtype == torch.float64 and left_out <= resolution(torch.float64) * total:
        return leading_left(matrix, rank)
    kept: Tensor = vectors.flip(1)[:, :rank]
    return kept


def _split(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    frame = leading_rows(matrix, rank).to(matrix.dtype)
    return frame, matrix if rank == len(matrix) else frame.T @ matrix


def _capped(ranks: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    capped = [1]
    for rank, side in zip(ranks, sizes, strict=False):
        capped.append(min(rank, capped[-1] * side))
    return tuple(capped[1:])
