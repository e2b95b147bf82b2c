"""The best low-rank approximation of a matrix, through the Gram matrix of its small side."""

from __future__ import annotations

import torch
from torch import Tensor

_GRAM_FLOOR = 1e-12
"""Share of the energy below which eigenvalues of a float64 Gram matrix are mostly rounding."""


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of `matrix` (m, n) of rank r: orthonormal columns (m, r) times a matrix (r, n).

    The Frobenius error is the least possible (Eckart and Young 1936); at r = min(m, n) there is none. `matrix` is
    float64, because squaring it halves the digits.

    >>> left, right = low_rank(torch.eye(3, dtype=torch.float64), 2)
    >>> left.shape, right.shape
    (torch.Size([3, 2]), torch.Size([2, 3]))
    """
    left = leading_left(matrix, rank)
    return left, left.T @ matrix


def leading_left(matrix: Tensor, rank: int) -> Tensor:
    """Orthonormal columns (m, r) that span the leading left singular vectors of `matrix` (m, n), r <= min(m, n)."""
    if matrix.shape[0] <= matrix.shape[1]:
        return _short_side(matrix, rank)
    across = _short_side(matrix.T, rank)
    left: Tensor = torch.linalg.qr(matrix @ across).Q
    return left


def _short_side(matrix: Tensor, rank: int) -> Tensor:
    energies, vectors = torch.linalg.eigh(matrix @ matrix.T)
    leading: Tensor = vectors.flip(1)[:, :rank]
    if rank < len(energies) and energies[:-rank].sum() <= _GRAM_FLOOR * energies.sum():
        # What is left out is too small to be told from rounding in the Gram matrix.
        leading = torch.linalg.svd(matrix, full_matrices=False).U[:, :rank]
    return leading
