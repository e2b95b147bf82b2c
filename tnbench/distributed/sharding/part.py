"""One rank's part of a chain, in the chain's own place and under its own names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.distributed.collectives import Group
from tnbench.distributed.functions import copy_to_ranks, join_channels, sum_over_ranks
from tnbench.distributed.placement import Shard, own_part
from tnbench.distributed.sharding.chains import Factor, channels, groups
from tnbench.distributed.sharding.roles import Role
from tnbench.layers.geometry import Geometry

_WEIGHT_SIDE = {"outputs": 0, "inputs": 1, "channels": 0}


class Part(nn.Module):
    """A rank's part of one factor, with what the ranks exchange before and behind it.

    `shards` says, for the parameters of which the rank has a part, of what. The bias is added behind the sum over the
    ranks, once.
    """

    def __init__(self, factor: Factor, role: Role, group: Group) -> None:
        super().__init__()
        self.role, self.group = role, group
        self.out = channels(factor)[1]
        self.geometry = None if isinstance(factor, nn.Linear) else Geometry.of(factor)
        self.shards: dict[str, Shard] = {}
        self.weight = cast(nn.Parameter, factor.weight)
        self.bias = cast(nn.Parameter | None, factor.bias)
        if role.kind != "whole":
            self.weight = self._own("weight", self.weight, _WEIGHT_SIDE[role.kind])
        if role.kind in ("outputs", "channels") and self.bias is not None and not role.joins:
            self.bias = self._own("bias", self.bias, 0)
        self.groups = len(self.weight) if role.kind == "channels" else groups(factor)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *sides) or (N, I), whole or the rank's channels as the role wants them, and so what comes out."""
        if self.geometry is None and x.dim() != 2:
            raise NotApplicable(f"got {tuple(x.shape)} for a linear layer that ranks share, wanted (N, I)")
        if self.role.copies:
            x = copy_to_ranks(x, self.group)
        y = self._multiply(x)
        if self.role.sums:
            y = sum_over_ranks(y, self.group)
        if self.role.joins:
            y = join_channels(y, self.out, self.group)
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, *[1] * (y.dim() - 2))

    def _multiply(self, x: Tensor) -> Tensor:
        if self.geometry is None:
            return functional.linear(x, self.weight)
        return self.geometry.convolve(x, self.weight, None, self.groups)

    def _own(self, name: str, whole: nn.Parameter, dim: int) -> nn.Parameter:
        self.shards[name] = Shard(dim, whole.shape[dim])
        return own_parameter(whole, dim, self.group)


def own_parameter(whole: nn.Parameter, dim: int, group: Group) -> nn.Parameter:
    """This rank's part along `dim`, as a parameter with memory of its own."""
    return nn.Parameter(own_copy(whole, dim, group), requires_grad=whole.requires_grad)


def own_copy(whole: Tensor, dim: int, group: Group) -> Tensor:
    """This rank's part along `dim`, in the memory format of the whole."""
    return own_part(whole.detach(), dim, group).clone(memory_format=torch.preserve_format)


def shard_chain(chain: nn.Sequential, given: Sequence[Role], group: Group) -> dict[str, Shard]:
    """Put this rank's parts in the place of the factors. Name within the chain -> what each rank has a part of."""
    found: dict[str, Shard] = {}
    for index, role in enumerate(given):
        part = Part(cast(Factor, chain[index]), role, group).train(chain.training)
        chain[index] = part
        found |= prefixed(str(index), part.shards)
    return found


def prefixed(name: str, shards: Mapping[str, Shard]) -> dict[str, Shard]:
    """Names of the inside of module `name` as the module's owner knows them."""
    return {f"{name}.{inner}" if name else inner: shard for inner, shard in shards.items()}
