"""What methods share: a weight as the matrix O × (everything else), which is all that a linear layer has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape


def largest_ranks(shape: Shape) -> Ranks:
    return (min(shape[0], math.prod(shape[1:])),)


def count(shape: Shape, ranks: Ranks) -> int:
    (R,) = ranks
    return R * (math.prod(shape[1:]) + shape[0])


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    return count(shape, ranks) * pixels.out


def factorise(weight: Tensor, ranks: Ranks, truncate: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> Factors:
    """Factors (R, I, ...) and (O, R, 1, ...) with the singular values shared evenly."""
    left, right = truncate(weight.double().flatten(1), *ranks)
    values = right.norm(dim=1)
    roots = torch.where(values > 0, values, 1.0).sqrt()
    first = (right / roots[:, None]).reshape(-1, *weight.shape[1:])
    second = (left * roots).reshape(len(left), -1, *(1 for _ in weight.shape[2:]))
    return first.to(weight.dtype), second.to(weight.dtype)


def dense(factors: Factors) -> Tensor:
    first, second = factors
    return (second.flatten(1) @ first.flatten(1)).reshape(len(second), *first.shape[1:])
