"""Which layers can be replaced: plain convolutions in one to three dimensions, and linear layers."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.modules.conv import _ConvNd

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def refuses(layer: nn.Module, *, grouped: bool = True) -> str | None:
    """Why no factors stand for `layer`; None for a plain Conv1d, Conv2d, Conv3d or Linear.

    Depthwise convolutions are refused: one channel each leaves nothing to share. `grouped` says whether convolutions
    of several groups are served.
    """
    # A subclass may use its weight in a way of its own (MultiheadAttention's projection does), hence no isinstance.
    if type(layer) not in (*CONVOLUTIONS, nn.Linear):
        return f"it is a {type(layer).__name__}, wanted a plain Conv1d, Conv2d, Conv3d or Linear"
    groups = layer.groups if isinstance(layer, CONVOLUTIONS) else 1
    if groups > 1 and groups == cast(_ConvNd, layer).in_channels:
        return f"it is a depthwise convolution of {groups} channels, which has no channels to mix"
    if groups > 1 and not grouped:
        return f"it is a convolution of {groups} groups, wanted one group"
    return None


def dimensions(layer: nn.Module) -> int:
    """Number of spatial dimensions of a convolution; 0 for a linear layer."""
    return 0 if isinstance(layer, nn.Linear) else len(cast(_ConvNd, layer).kernel_size)
