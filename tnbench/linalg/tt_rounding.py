"""TT rounding: a train of smaller ranks near a given one, without the tensor that they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def tt_round(
    cores: Sequence[Tensor], *, ranks: Sequence[int] | None = None, tolerance: float = 0.0
) -> tuple[Tensor, ...]:
    """Cores (r'_{j-1}, n_j, r'_j) with r'_j <= r_j, near the train of `cores` (r_{j-1}, n_j, r_j) in float64.

    Algorithm 2 of Oseledets, "Tensor-train decomposition" (2011): a sweep of QR decompositions from the right, then one
    of truncated SVDs from the left. Each rank is at most that of `ranks`, and the least at which the relative error,
    as long as `ranks` cut nothing, stays within `tolerance`. Without both, only what has no use is dropped. All cores
    but the last are left-orthonormal. Outer ranks are 1.

    >>> ones = torch.ones(1, 3, 2, dtype=torch.float64), torch.ones(2, 4, 1, dtype=torch.float64)
    >>> [tuple(core.shape) for core in tt_round(ones, tolerance=1e-12)]
    [(1, 3, 1), (1, 4, 1)]
    """
    rest = list(right_orthonormal(cores))
    allowed = tolerance * float(rest[0].norm()) / math.sqrt(max(1, len(cores) - 1))
    for bond in range(len(rest) - 1):
        before, size, after = rest[bond].shape
        left, values, right = torch.linalg.svd(rest[bond].reshape(before * size, after), full_matrices=False)
        rank = min(least_rank(values, allowed), ranks[bond] if ranks is not None else len(values))
        rest[bond] = left[:, :rank].reshape(before, size, rank)
        rest[bond + 1] = torch.tensordot(values[:rank, None] * right[:rank], rest[bond + 1], dims=1)
    return tuple(rest)


def right_orthonormal(cores: Sequence[Tensor]) -> Sequence[Tensor]:
    """The same train whose cores but the first have orthonormal rows (r, n · r')."""
    done = list(cores)
    for bond in range(len(done) - 1, 0, -1):
        before, size, after = done[bond].shape
        basis, triangle = torch.linalg.qr(done[bond].reshape(before, size * after).T)
        done[bond] = basis.T.reshape(-1, size, after)
        done[bond - 1] = torch.tensordot(done[bond - 1], triangle.T, dims=1)
    return done


def least_rank(values: Tensor, allowed: float) -> int:
    """The least rank, 1 or more, at which the norm of the singular values left out is at most `allowed`."""
    tails = values.square().flip(0).cumsum(0).flip(0).sqrt()
    return max(1, int((tails > allowed).sum()))
