"""Collectives that gradients pass: each is the other's transpose (Shoeybi et al. 2019, arXiv:1909.08053, f and g).

A value is either *whole*, with one copy on every rank, or *split*, with a part on each. The rule that all of them keep:
the gradient of a whole value is the full gradient, the same on every rank, and the gradient of a split value is the
rank's part of it. So parameters that are whole need no all-reduce afterwards.

| function | forward | backward |
| --- | --- | --- |
| `copy_to_ranks` | nothing | all-reduce |
| `sum_over_ranks` | all-reduce | nothing |
| `split` | the rank's part | all-gather |
| `join` | all-gather | the rank's part |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_reduce
from tnbench.distributed.placement import Shard, joined, own_part

CHANNELS = 1
"""The side of the channels in (N, C, *sides) and (N, C)."""


def copy_to_ranks(tensor: Tensor, group: Group = None) -> Tensor:
    """A whole value, where each rank goes on to do a part of the work: forward itself, backward the ranks' sum."""
    return cast(Tensor, _Copy.apply(group, tensor)[0])


def copy_all_to_ranks(tensors: Sequence[Tensor], group: Group = None) -> tuple[Tensor, ...]:
    """`copy_to_ranks` of several, of one dtype, with a single all-reduce for those that have a gradient."""
    return cast(tuple[Tensor, ...], _Copy.apply(group, *tensors))


def sum_over_ranks(tensor: Tensor, group: Group = None) -> Tensor:
    """A whole value out of the ranks' summands."""
    return cast(Tensor, _Sum.apply(tensor, group))


def split(tensor: Tensor, dim: int, group: Group = None) -> Tensor:
    """This rank's part along `dim` of a whole value."""
    return cast(Tensor, _Split.apply(tensor, dim, group))


def join(tensor: Tensor, dim: int, size: int, group: Group = None) -> Tensor:
    """The whole value, `size` long along `dim`, of which this rank has the part `tensor`."""
    return cast(Tensor, _Join.apply(tensor, Shard(dim, size), group))


def split_channels(tensor: Tensor, group: Group = None) -> Tensor:
    """This rank's channels of a whole value (N, C, ...)."""
    return split(tensor, CHANNELS, group)


def join_channels(tensor: Tensor, channels: int, group: Group = None) -> Tensor:
    """All `channels` of a value of which this rank has some, (N, C', ...) to (N, C, ...)."""
    return join(tensor, CHANNELS, channels, group)


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, group: Group, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [gradient for gradient, wants in zip(gradients, ctx.needs_input_grad[1:], strict=True) if wants]
        total = all_reduce(torch.cat([gradient.flatten() for gradient in wanted]), ctx.group)
        pieces = iter(total.split([gradient.numel() for gradient in wanted]))
        shared = zip(gradients, ctx.needs_input_grad[1:], strict=True)
        return None, *(next(pieces).view(gradient.shape) if wants else None for gradient, wants in shared)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Group) -> Tensor:
        return all_reduce(tensor, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, None


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dim: int, group: Group) -> Tensor:
        ctx.shard, ctx.group = Shard(dim, tensor.shape[dim]), group
        return own_part(tensor, dim, group).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return joined(gradient, ctx.shard, ctx.group), None, None


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, shard: Shard, group: Group) -> Tensor:
        ctx.dim, ctx.group = shard.dim, group
        return joined(tensor, shard, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return own_part(gradient, ctx.dim, ctx.group).contiguous(), None, None
