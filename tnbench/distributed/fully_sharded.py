"""Weights in parts over the ranks of a group, by torch's `fully_shard`, with every word counted."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter
from torch.distributed.tensor import DTensor

from tnbench.distributed.collectives import Group, rank_in, size, to_be_sent


def shard(model: nn.Module, group: Group, device: torch.device) -> None:
    """Cut the tensors of `model` along their first side over the ranks of `group`, in place, block by block."""
    mesh = DeviceMesh.from_group(group or dist.group.WORLD, device.type)  # type: ignore[arg-type]
    for block in [*blocks(model), model]:
        fully_shard(block, mesh=mesh)
        sharded = cast(FSDPModule, block)
        sharded.set_custom_all_gather(_AllGather())
        sharded.set_custom_reduce_scatter(_ReduceScatter())


def blocks(model: nn.Module) -> list[nn.Module]:
    """What is gathered at a time: the children of the network, those of an `nn.Sequential` one by one.

    None where blocks have tensors in common: then the whole network is gathered at once.
    """
    found = [
        block
        for child in model.children()
        for block in (child.children() if isinstance(child, nn.Sequential) else (child,))
    ]
    found = [block for block in dict.fromkeys(found) if next(block.parameters(), None) is not None]
    owners = Counter(id(parameter) for part in [*found, *_loose(model)] for parameter in set(part.parameters()))
    return found if max(owners.values(), default=1) == 1 else []


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole tensors on the CPU; every rank calls it. Buffers are the rank's own."""
    return {name: _whole(value).to("cpu", copy=True) for name, value in model.state_dict().items()}


def _loose(model: nn.Module) -> list[nn.ParameterList]:
    """The parameters that belong to no child."""
    return [nn.ParameterList(model.parameters(recurse=False))]


@torch.no_grad()
def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


class _AllGather(DefaultAllGather):
    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, async_op: bool = False
    ) -> dist.Work | None:
        if not to_be_sent("all_gather", output_tensor.numel(), group):
            output_tensor.view(size(group), -1).copy_(input_tensor.clone())  # it is a part of the output
            return None
        return super().__call__(output_tensor, input_tensor, group, async_op)


class _ReduceScatter(DefaultReduceScatter):
    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, op: Any, async_op: bool = False
    ) -> dist.Work | None:
        if not to_be_sent("reduce_scatter", input_tensor.numel(), group):
            output_tensor.copy_(input_tensor.view(size(group), -1)[rank_in(group)])
            return None
        return super().__call__(output_tensor, input_tensor, group, op, async_op)
