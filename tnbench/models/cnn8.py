"""A small CNN for pictures of about 8x8 pixels: four 3x3 convolutions with BatchNorm and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._width import scaled

VERSION = 1

SIDES = range(6, 17)


class Cnn8(nn.Module):
    """32 and 32 channels at full size, 64 and 128 at half of it, global average pooling, one linear layer.

    Four convolutions are enough for 99 % on the digits, and the last, with three quarters of all weights, is wide
    enough for decompositions to differ from x4 on. All these numbers are times `width`.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3, C4 = (scaled(full, width) for full in (32, 32, 64, 128))
        self.conv1 = nn.Conv2d(channels, C1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(C1)
        self.conv2 = nn.Conv2d(C1, C2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(C2)
        self.conv3 = nn.Conv2d(C2, C3, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(C3)
        self.conv4 = nn.Conv2d(C3, C4, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(C4)
        self.linear = nn.Linear(C4, classes)
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
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    channels, *sides = in_shape
    if any(side not in SIDES for side in sides):
        raise NotApplicable(
            f"{name} takes pictures with sides from {SIDES[0]} to {SIDES[-1]} pixels, got {'x'.join(map(str, sides))}; "
            f"digits has them"
        )
    return Cnn8(channels, classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``."""
    return first_and_last(model)
