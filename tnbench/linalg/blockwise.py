"""Products with a matrix too large to be copied to float64: block by block, with sums in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ENTRIES = 2**18
"""Entries of a block: 2 MiB in float64, and still more than a product needs to run at full speed."""

_ROWS = 128


def gram(matrix: Tensor) -> Tensor:
    """M M', (m, m) in float64, of `matrix` (m, n) in any floating dtype. By symmetry half of it is computed."""
    product = matrix.new_zeros(len(matrix), len(matrix), dtype=torch.float64)
    for columns in blocks(matrix.shape[1], len(matrix)):
        block = matrix[:, columns].double()
        for start in range(0, len(block), _ROWS):
            product[start : start + _ROWS, start:] += block[start : start + _ROWS] @ block[start:].T
    return product.triu_().add_(product.triu(1).T)


def times(matrix: Tensor, other: Tensor) -> Tensor:
    """M N, (m, r) in float64, of `matrix` (m, n) in any floating dtype and `other` (n, r) in float64."""
    return torch.cat([matrix[rows].double() @ other for rows in blocks(len(matrix), matrix.shape[1])])


def blocks(length: int, across: int) -> Iterator[slice]:
    """Slices that cover `length` rows (or columns) of `across` entries each, a block at a time."""
    step = max(1, _ENTRIES // max(1, across))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
