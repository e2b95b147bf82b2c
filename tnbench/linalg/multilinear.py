"""Products of a tensor with a matrix along one mode, and its unfoldings, without a copy where that can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def mode_product(tensor: Tensor, matrix: Tensor, mode: int) -> Tensor:
    """`tensor` with the side n of `mode` replaced by m: the products of all its fibres with `matrix` (m, n)."""
    before, after = math.prod(tensor.shape[:mode]), math.prod(tensor.shape[mode + 1 :])
    sides = (*tensor.shape[:mode], matrix.shape[0], *tensor.shape[mode + 1 :])
    if after == 1:
        return (tensor.reshape(before, -1) @ matrix.T).reshape(sides)
    return torch.matmul(matrix, tensor.reshape(before, -1, after)).reshape(sides)


def expanded(core: Tensor, factors: Sequence[Tensor], modes: Sequence[int]) -> Tensor:
    """The tensor that a Tucker `core` stands for: multiplied by a factor (n, r) along each of `modes`."""
    for factor, mode in zip(factors, modes, strict=True):
        core = mode_product(core, factor, mode)
    return core


def unfold(tensor: Tensor, mode: int) -> Tensor:
    """The fibres of `mode` as the columns of a matrix (n, everything else), other modes in order."""
    if mode == tensor.dim() - 1:
        return tensor.flatten(0, -2).T
    return tensor.movedim(mode, 0).flatten(1)
