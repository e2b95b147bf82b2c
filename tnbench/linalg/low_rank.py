"""The best low-rank approximation of a matrix, through the Gram matrix of its small side."""

from __future__ import annotations

import torch
from torch import Tensor

from tnbench.linalg import blockwise

_RESOLVED = 2.0**16
"""Energies left out must be this many rounding errors of all energy to be told from those of a Gram matrix."""

_SHARP = 1e-8
"""Least ratio of a float64 Gram matrix's extreme eigenvalues at which their roots have eight digits."""


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of `matrix` (m, n) of rank r: orthonormal columns (m, r) times a matrix (r, n).

    The Frobenius error is the least possible (Eckart and Young 1936); at r = min(m, n) there is none. `matrix` is
    float32 or float64, and so are the answers.

    >>> left, right = low_rank(torch.eye(3, dtype=torch.float64), 2)
    >>> left.shape, right.shape
    (torch.Size([3, 2]), torch.Size([2, 3]))
    """
    left = leading_left(matrix, rank)
    return left, left.T @ matrix


def leading_left(matrix: Tensor, rank: int) -> Tensor:
    """Orthonormal columns (m, r) that span the leading left singular vectors of `matrix` (m, n); any beyond n of them.

    They come in falling order from the Gram matrix in the matrix's own precision. What it leaves out may be too little
    to be told from rounding: then from the Gram matrix in float64, and where that is too coarse too, from an SVD.
    """
    left, share = gram_left(matrix, rank)
    if share <= resolution(matrix.dtype) and rank < min(matrix.shape):
        if matrix.dtype != torch.float64:
            left, share = gram_left(matrix, rank, precise=True)
        if share <= resolution(torch.float64):
            left = _svd_left(matrix.double(), rank)
    return left.to(matrix.dtype)


def gram_left(matrix: Tensor, rank: int, *, precise: bool = False) -> tuple[Tensor, float]:
    """`leading_left` by the Gram matrix alone, and the share of the energy ||matrix||² that it leaves out.

    Both are as good as rounding allows while the share is above `resolution` of the matrix's dtype; of float64 if
    `precise`, which takes the Gram matrix in float64, block by block.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    energies, vectors = torch.linalg.eigh(blockwise.gram(wide) if precise else wide @ wide.T)
    leading = vectors.flip(1)[:, :rank]
    total = float(energies.sum())
    share = float(energies[: max(0, len(energies) - rank)].sum()) / total if total > 0 else 0.0
    if not tall:
        return leading, share
    mode = "complete" if rank > matrix.shape[1] else "reduced"
    across = blockwise.times(matrix, leading) if precise else matrix @ leading
    return torch.linalg.qr(across, mode=mode).Q[:, :rank], share


def resolution(dtype: torch.dtype) -> float:
    """Share of the energy below which what a Gram matrix of `dtype` leaves out is not to be trusted."""
    return _RESOLVED * torch.finfo(dtype).eps


def singular_values(matrix: Tensor) -> Tensor:
    """All min(m, n) singular values of `matrix` (m, n), falling, in float64.

    Those of a well conditioned matrix come from its Gram matrix and have eight digits or more; else from an SVD, whose
    errors are rounding errors of the largest value.
    """
    wide = (matrix.T if matrix.shape[0] > matrix.shape[1] else matrix).double()
    energies: Tensor = torch.linalg.eigvalsh(wide @ wide.T)
    if float(energies[0]) > _SHARP * float(energies[-1]):
        return energies.flip(0).sqrt()
    values: Tensor = torch.linalg.svdvals(torch.linalg.qr(wide.T, mode="r").R)
    return values


def _svd_left(matrix: Tensor, rank: int) -> Tensor:
    """By an SVD of the small side only: the long one is first taken out by a QR decomposition."""
    if matrix.shape[0] > matrix.shape[1]:
        left, small = torch.linalg.qr(matrix)
        return torch.Tensor.matmul(left, torch.linalg.svd(small).U[:, :rank])
    small = torch.linalg.qr(matrix.T, mode="r").R.T
    leading: Tensor = torch.linalg.svd(small).U[:, :rank]
    return leading
