"""The nearest Monarch matrix: a grid of blocks of low rank, which is block-diagonal, permutation, block-diagonal."""

from __future__ import annotations

import torch
from torch import Tensor


def blocks(matrix: Tensor, grid: tuple[int, int]) -> Tensor:
    """(l, k, q, p): the blocks of `matrix` (q·l, k·p) on a `grid` of (l, k).

    Columns are l consecutive ranges, rows are taken l apart, as in Dao et al. (2022).

    >>> blocks(torch.arange(8.0).reshape(4, 2), (2, 1))[0, 0]
    tensor([[0., 1.],
            [4., 5.]])
    """
    (O, I), (l, k) = matrix.shape, grid
    return matrix.reshape(O // l, l, k, I // k).permute(1, 2, 0, 3)


def nearest_monarch(matrix: Tensor, grid: tuple[int, int], rank: int) -> tuple[Tensor, Tensor]:
    """First factor (k, r, l, p) and second (l, q, k, r) of the Monarch matrix nearest to `matrix` (q·l, k·p), float64.

    The projection of Dao et al., "Monarch: expressive structured matrices for efficient and accurate training" (2022),
    Algorithm 1, whose r is 1: each block by its truncated SVD, r <= min(p, q), so the Frobenius error is the least.
    Singular values are shared evenly.
    """
    left, values, right = torch.linalg.svd(blocks(matrix, grid), full_matrices=False)
    roots = values[..., :rank].sqrt()
    first = roots[..., None] * right[..., :rank, :]
    second = left[..., :rank] * roots[..., None, :]
    return first.permute(1, 2, 0, 3).contiguous(), second.permute(0, 2, 1, 3).contiguous()


def monarch(first: Tensor, second: Tensor) -> Tensor:
    """The matrix (q·l, k·p) of factors (k, r, l, p) and (l, q, k, r): W[q, l, k, p] = Σ_r second · first."""
    matrix: Tensor = torch.einsum("krlp,lqkr->qlkp", first, second)
    return matrix.flatten(0, 1).flatten(1)
