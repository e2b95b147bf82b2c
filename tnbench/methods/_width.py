"""What methods that narrow a whole network share: widths are counted in 256ths of each layer's channels."""

from __future__ import annotations

from torch import nn

STEPS = 256
"""Fine enough that the widest layer that is common, of 512 channels, loses two at a step."""


def widths(model: nn.Module) -> int:
    return STEPS
