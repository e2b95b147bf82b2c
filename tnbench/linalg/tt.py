"""TT-SVD: the tensor-train decomposition by one low-rank approximation per bond."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tnbench.linalg.low_rank import low_rank


def tt_svd(
    tensor: Tensor,
    ranks: Sequence[int],
    truncate: Callable[[Tensor, int], tuple[Tensor, Tensor]] = low_rank,
) -> tuple[Tensor, ...]:
    """Cores (r_{j-1}, n_j, r_j) of `tensor` (n_1, ..., n_d) with inner `ranks` r_1, ..., r_{d-1}; the outer ones are 1.

    All cores but the last are left-orthonormal. Algorithm 1 of Oseledets, "Tensor-train decomposition" (2011): the
    error is at most sqrt(d - 1) times the best one. Each rank is at most r_{j-1} n_j.
    """
    cores, before, rest = [], 1, tensor
    for size, rank in zip(tensor.shape, ranks, strict=False):
        left, rest = truncate(rest.reshape(before * size, -1), rank)
        cores.append(left.reshape(before, size, rank))
        before = rank
    return *cores, rest.reshape(before, tensor.shape[-1], 1)
