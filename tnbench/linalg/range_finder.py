"""The range of a matrix from random products with it, without looking at all of its singular values."""

from __future__ import annotations

import torch
from torch import Tensor

from tnbench.linalg.low_rank import leading_left


def range_finder(matrix: Tensor, rank: int, *, seed: int, oversample: int = 10, power: int = 2) -> Tensor:
    """Orthonormal columns (m, min(r + oversample, m, n)) that nearly hold the r leading left singular vectors.

    Algorithms 4.1 and 4.4 of Halko, Martinsson and Tropp, "Finding structure with randomness" (2011): `power` products
    with the matrix and its transpose, each made orthonormal, sharpen a flat spectrum. With s its singular values the
    expected error is at most (1 + sqrt(r / (p - 1))) times the best one, p = `oversample`, even without any. The same
    seed gives the same bits on the CPU; torch's global generator is not used.
    """
    columns = min(rank + oversample, *matrix.shape)
    generator = torch.Generator().manual_seed(seed)
    test = torch.randn(matrix.shape[1], columns, generator=generator, dtype=matrix.dtype).to(matrix.device)
    basis: Tensor = torch.linalg.qr(matrix @ test).Q
    for _ in range(power):
        across = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ across).Q
    return basis


def randomised_low_rank(
    matrix: Tensor, rank: int, *, seed: int, oversample: int = 10, power: int = 2
) -> tuple[Tensor, Tensor]:
    """As `tnbench.linalg.low_rank.low_rank`, within the range that `range_finder` finds."""
    basis = range_finder(matrix, rank, seed=seed, oversample=oversample, power=power)
    left = basis @ leading_left(basis.T @ matrix, rank)
    return left, left.T @ matrix
