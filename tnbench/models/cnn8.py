"""A small CNN for pictures of about 8x8 pixels: four 3x3 convolutions with BatchNorm and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.engine.compress import first_and_last
from tnbench.models._kaiming import initialise

VERSION = 1

SIDES = range(6, 17)


class Cnn8(nn.Module):
    """32 and 32 channels at full size, 64 and 128 at half of it, global average pooling, one linear layer.

    Four convolutions are enough for 99 % on the digits, and the last, with three quarters of all weights, is wide
    enough for decompositions to differ from x4 on.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.conv4 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(128)
        self.linear = nn.Linear(128, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.max_pool2d(x, 2)
        x = functional.relu(self.bn3(self.conv3(x)))
        x = functional.relu(self.bn4(self.conv4(x)))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """The network for pictures with sides from 6 to 16."""
    channels, height, width = in_shape
    if height not in SIDES or width not in SIDES:
        raise NotApplicable(
            f"{name} takes pictures with sides from {SIDES[0]} to {SIDES[-1]} pixels, got {height}x{width}; "
            f"digits has them"
        )
    return Cnn8(channels, classes)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``."""
    return first_and_last(model)
