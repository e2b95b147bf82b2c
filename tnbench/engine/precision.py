"""How a training lays out and computes a network: memory format, bfloat16, compilation."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew, Recipe


def lay_out(model: nn.Module, recipe: Recipe) -> None:
    """Put the weights of four sides into channels-last memory, in place, where the recipe says so."""
    if recipe.channels_last:
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def laid_out(pictures: Tensor, recipe: Recipe) -> Tensor:
    """`pictures` (N, C, H, W) in the memory format of the recipe."""
    return pictures.contiguous(memory_format=torch.channels_last) if recipe.channels_last else pictures


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """A block whose convolutions and products are computed in bfloat16, which needs no scaling of the loss."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp)


def compiled(wrapped: nn.Module, recipe: Recipe, crew: Crew) -> nn.Module:
    """What the forward and backward passes run through.

    Batches have two sizes at most, and each gets a graph of its own. On a single GPU the kernels are launched as CUDA
    graphs. Ranks go without those, whose replay leaves DistributedDataParallel no moment for its all-reduces.
    """
    if not recipe.compile:
        return wrapped
    torch.compiler.reset()  # graphs of networks trained before count towards the limit beyond which nothing is compiled
    alone = crew.world == 1
    mode = "reduce-overhead" if alone and crew.device.type == "cuda" else "default"
    return cast(nn.Module, torch.compile(wrapped, mode=mode, dynamic=False, fullgraph=alone))
