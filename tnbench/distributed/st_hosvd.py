"""The sequentially truncated higher-order SVD of a tensor over a grid of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tnbench.distributed import tsqr
from tnbench.distributed.gram import gram, gram_cost, redistributed, redistributed_cost, redistributed_shape
from tnbench.distributed.grid import Distributed, factorisations
from tnbench.distributed.sketch import range_finder, range_finder_cost
from tnbench.distributed.ttm import truncated, truncated_cost
from tnbench.distributed.volume import Volume, total
from tnbench.linalg.multilinear import unfold

Via = Literal["gram", "lq", "sketch"]
"""How a factor is found: from a Gram matrix; from a triangle, which resolves singular values that a Gram matrix loses
below the root of the rounding error; or from random products, for ranks far below the sides."""

_EIGH = 9.0
_SVD = 22.0
"""Flops over n³ of a symmetric eigenvalue decomposition and of an SVD (Golub and Van Loan, Matrix Computations)."""


def st_hosvd(
    given: Distributed,
    ranks: Sequence[int],
    modes: Sequence[int],
    *,
    order: Sequence[int] | None = None,
    via: Via = "gram",
    seed: int = 0,
) -> tuple[Distributed, tuple[Tensor, ...]]:
    """The core over the same grid, and orthonormal factors (n_j, r_j) for `modes` on every rank.

    As `tnbench.linalg.hosvd.st_hosvd` (Vannieuwenhoven, Vandebril and Meerbergen 2012), distributed as in TuckerMPI
    (Ballard, Klinvex and Kolda, "TuckerMPI", ACM TOMS 2020): for each mode of `order`, by default small sides first, a
    distributed Gram matrix, its eigenvectors on every rank alike, and a product that truncates the mode. With
    ``via="lq"`` the factor comes from a triangle by TSQR instead (Li, Fang and Ballard, "Parallel Tucker decomposition
    with numerically accurate SVD", ICPP 2021); then each side is at most the product of the others. `seed` is that of
    ``via="sketch"``.

    Costs Σ J_k (n_k + 1) n_k / P + 2 r_k n_k J_k / P flops and 9 n_k³ that are not shared; see `st_hosvd_cost`.
    """
    wanted, factors, core = dict(zip(modes, ranks, strict=True)), {}, given
    for mode in default_order(given.shape, modes) if order is None else order:
        factors[mode] = leading(core, mode, wanted[mode], via, seed)
        core = truncated(core, factors[mode], mode)
    return core, tuple(factors[mode] for mode in modes)


def leading(given: Distributed, mode: int, rank: int, via: Via, seed: int) -> Tensor:
    """Orthonormal columns (n, r) on every rank: the leading left singular vectors of an unfolding, in falling order."""
    if via == "gram":
        return _falling(gram(given, mode), rank)
    if via == "lq":
        rows = unfold(redistributed(given, mode), mode).T
        lower = tsqr.triangle_of(rows, given.grid.group).T[: given.shape[mode]]
        vectors: Tensor = torch.linalg.svd(lower, full_matrices=False).U[:, :rank]
        return vectors
    basis = range_finder(given, mode, rank, seed=seed)
    inside = gram(truncated(given, basis, mode), mode)
    return basis @ _falling(inside, rank)


def st_hosvd_cost(
    shape: Sequence[int],
    ranks: Sequence[int],
    modes: Sequence[int],
    sides: Sequence[int],
    *,
    order: Sequence[int] | None = None,
    via: Via = "gram",
) -> Volume:
    """Of `st_hosvd` on a grid with `sides`."""
    wanted, now, steps = dict(zip(modes, ranks, strict=True)), list(shape), []
    for mode in default_order(shape, modes) if order is None else order:
        steps += [
            leading_cost(now, sides, mode, wanted[mode], via),
            truncated_cost(now, sides, mode, wanted[mode]),
        ]
        now[mode] = wanted[mode]
    return total(steps)


def leading_cost(shape: Sequence[int], sides: Sequence[int], mode: int, rank: int, via: Via) -> Volume:
    """Of `leading`."""
    n = shape[mode]
    if via == "gram":
        return total([gram_cost(shape, sides, mode), Volume(_EIGH * n**3)])
    if via == "lq":
        rows, columns = redistributed_shape(shape, sides, mode)
        triangles = tsqr.tsqr_cost(columns, rows, math.prod(sides), only_r=True)
        return total([redistributed_cost(shape, sides, mode), triangles, Volume(_SVD * n**3)])
    width = min(rank + 10, n, math.prod(shape) // n)
    inside = [*shape[:mode], width, *shape[mode + 1 :]]
    return total(
        [
            range_finder_cost(shape, sides, mode, rank),
            truncated_cost(shape, sides, mode, width),
            gram_cost(inside, sides, mode),
            Volume(_EIGH * width**3 + 2.0 * n * width * rank),
        ]
    )


def best_grid(
    shape: Sequence[int], ranks: Sequence[int], modes: Sequence[int], count: int, *, via: Via = "gram"
) -> tuple[int, ...]:
    """The grid of `count` ranks on which `st_hosvd` communicates fewest words, of equals that with least arithmetic.

    >>> best_grid((64, 64, 64), (8, 8, 8), (0, 1, 2), 2)
    (1, 1, 2)
    """

    def price(sides: tuple[int, ...]) -> tuple[float, float]:
        cost = st_hosvd_cost(shape, ranks, modes, sides, via=via)
        return cost.words + cost.packed, cost.flops

    return min(factorisations(count, len(shape)), key=price)


def default_order(shape: Sequence[int], modes: Sequence[int]) -> list[int]:
    """Small sides first, as for a tensor on one rank."""
    return sorted(modes, key=lambda mode: shape[mode])


def _falling(gram: Tensor, rank: int) -> Tensor:
    # The sum that the ranks share has the same bits on all of them, and so have its eigenvectors.
    vectors: Tensor = torch.linalg.eigh(gram)[1]
    return vectors.flip(1)[:, :rank]
