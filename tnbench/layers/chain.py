"""A chain of factors as a sequence of plain convolutions, or of linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.layers import plain

refuses = plain.refuses
"""Why no chain stands for a layer: as for any factors."""

_CONVOLUTION: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def chain(factors: Sequence[Tensor], like: nn.Module) -> nn.Sequential:
    """A sequence of layers whose weights are `factors`, first applied first, in place of `like`.

    Factors are (out, in) for a Linear and (out, in / groups, *k) for a convolution: a factor whose second side is
    smaller than the channels that arrive is a convolution of several groups, depthwise where it is 1. Each spatial
    side of the kernel belongs to one factor, which takes stride, padding and dilation along it; where the kernel's
    side is 1 that is the first factor, so that the rest runs on fewer pixels. The last layer has the bias.

    >>> import torch
    >>> chain([torch.ones(2, 8, 1, 1), torch.ones(2, 1, 3, 3), torch.ones(4, 2, 1, 1)], nn.Conv2d(8, 4, 3))[1].groups
    2

    Raises ValueError where the factors' spatial sides do not make up the kernel.
    """
    layers = _linears(factors) if isinstance(like, nn.Linear) else _convolutions(factors, like)
    for layer, factor in zip(layers, factors, strict=True):
        layer.weight = _parameter(factor, cast(Tensor, like.weight))
    if like.bias is not None:
        layers[-1].bias = _parameter(cast(Tensor, like.bias), cast(Tensor, like.bias))
    return nn.Sequential(*layers).train(like.training)


def _linears(factors: Sequence[Tensor]) -> list[nn.Module]:
    # On the meta device, because initial weights would be drawn from the global generator and thrown away.
    return [nn.Linear(factor.shape[1], factor.shape[0], bias=False, device="meta") for factor in factors]


def _convolutions(factors: Sequence[Tensor], like: Any) -> list[nn.Module]:
    axes = range(len(like.kernel_size))
    owners = [_owner(factors, like, axis) for axis in axes]
    layers: list[nn.Module] = []
    channels = like.in_channels
    for index, factor in enumerate(factors):
        out, inner, *sides = factor.shape
        owned = [owner == index for owner in owners]
        layers.append(
            _CONVOLUTION[len(axes)](
                channels,
                out,
                tuple(sides),
                stride=_along(owned, like.stride, 1),
                padding=like.padding if isinstance(like.padding, str) else _along(owned, like.padding, 0),
                dilation=_along(owned, like.dilation, 1),
                groups=channels // inner,
                bias=False,
                padding_mode=like.padding_mode if any(owned) else "zeros",
                device="meta",
            )
        )
        channels = out
    return layers


def _owner(factors: Sequence[Tensor], like: Any, axis: int) -> int:
    sides = [factor.shape[2 + axis] for factor in factors]
    if math.prod(sides) != like.kernel_size[axis] or sum(side > 1 for side in sides) > 1:
        raise ValueError(
            f"factors with sides {sides} along spatial axis {axis} for a kernel of {like.kernel_size[axis]}; "
            f"wanted one factor with that side and 1 in all others"
        )
    return next((index for index, side in enumerate(sides) if side > 1), 0)


def _along(owned: Sequence[bool], values: Sequence[int], neutral: int) -> tuple[int, ...]:
    return tuple(value if mine else neutral for value, mine in zip(values, owned, strict=True))


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    copied = values.detach().clone(memory_format=torch.contiguous_format)
    return nn.Parameter(copied, requires_grad=like.requires_grad)
