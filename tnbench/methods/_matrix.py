"""What methods share: a weight as the matrix O × (everything else), which is all that a linear layer has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.linalg.whitening import root_and_inverse

Truncate = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""A matrix (m, n) and a rank to matrices (m, r) and (r, n)."""


def largest_ranks(shape: Shape) -> Ranks:
    return (min(shape[0], math.prod(shape[1:])),)


def count(shape: Shape, ranks: Ranks) -> int:
    (R,) = ranks
    return R * (math.prod(shape[1:]) + shape[0])


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    return count(shape, ranks) * pixels.out


def factorise(weight: Tensor, ranks: Ranks, truncate: Truncate, moment: Tensor | None = None) -> Factors:
    """Factors (R, I, ...) and (O, R, 1, ...) with the singular values shared evenly.

    With a second moment C of patches (I·k, I·k) they minimise ||(W - W~) C^1/2||, the error of the outputs.
    """
    left, right = truncated(working(weight).flatten(1), ranks[0], truncate, moment)
    values = right.norm(dim=1)
    roots = torch.where(values > 0, values, 1.0).sqrt()
    first = (right / roots[:, None]).reshape(-1, *weight.shape[1:])
    second = (left * roots).reshape(len(left), -1, *(1 for _ in weight.shape[2:]))
    return first.to(weight.dtype), second.to(weight.dtype)


def truncated(matrix: Tensor, rank: int, truncate: Truncate, moment: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The best approximation of rank r in the norm that weighs errors by `moment`, if there is one."""
    if moment is None:
        return truncate(matrix, rank)
    root, inverse = root_and_inverse(moment)
    left, right = truncate(matrix.double() @ root, rank)
    return left, right @ inverse


def moment(aware: bool, stats: Stats | None) -> Tensor | None:
    """The second moment of patches for a solver that is `aware` of them; None for one that is not.

    Raises NotApplicable where there is none.
    """
    return None if not aware else _given(stats).patches


def channel_moment(aware: bool, stats: Stats | None) -> Tensor | None:
    """As `moment`, of input channels only: (I, I)."""
    return None if not aware else _given(stats).channel_moment


def _given(stats: Stats | None) -> Stats:
    if stats is None:
        raise NotApplicable("aware=true needs calibration pictures, got none; give some, or leave aware out")
    return stats


def working(weight: Tensor) -> Tensor:
    """The weight in the precision to solve in: float64 as it is, all others in float32."""
    return weight if weight.dtype == torch.float64 else weight.float()


def dense(factors: Factors) -> Tensor:
    first, second = factors
    return (second.flatten(1) @ first.flatten(1)).reshape(len(second), *first.shape[1:])
