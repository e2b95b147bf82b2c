"""Higher-order SVD: a Tucker decomposition by one truncated SVD per mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tnbench.linalg.low_rank import leading_left
from tnbench.linalg.multilinear import mode_product, unfold

Solve = Callable[[Tensor, Sequence[int], Sequence[int]], tuple[Tensor, tuple[Tensor, ...]]]
"""A tensor, ranks and the modes that they belong to, to a core and one factor (n, r) per mode."""


def hosvd(tensor: Tensor, ranks: Sequence[int], modes: Sequence[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Core and orthonormal factors (n_j, r_j) for `modes`, each from the unfolding of the whole tensor.

    De Lathauwer, De Moor and Vandewalle, "A multilinear singular value decomposition" (2000): the error is at most
    sqrt(d) times the best one of d modes. Modes that are not named keep their sides.
    """
    factors = tuple(leading_left(unfold(tensor, mode), rank) for rank, mode in zip(ranks, modes, strict=True))
    core = tensor
    for factor, mode in zip(factors, modes, strict=True):
        core = mode_product(core, factor.T, mode)
    return core, factors


def st_hosvd(
    tensor: Tensor, ranks: Sequence[int], modes: Sequence[int], *, order: Sequence[int] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `hosvd`, but each unfolding is that of the core so far, which is smaller.

    Vannieuwenhoven, Vandebril and Meerbergen, "A new truncation strategy for the higher-order singular value
    decomposition" (2012); the same bound. `order` lists the modes as they are cut, by default those of small sides
    first, whose decompositions are the cheapest.
    """
    wanted, factors, core = dict(zip(modes, ranks, strict=True)), {}, tensor
    for mode in small_sides_first(tensor, modes) if order is None else order:
        factors[mode] = leading_left(unfold(core, mode), wanted[mode])
        core = mode_product(core, factors[mode].T, mode)
    return core, tuple(factors[mode] for mode in modes)


def small_sides_first(tensor: Tensor, modes: Sequence[int]) -> list[int]:
    """`modes` sorted by their sides; the first one is the only one whose unfolding is not yet cut by others."""
    return sorted(modes, key=lambda mode: tensor.shape[mode])
