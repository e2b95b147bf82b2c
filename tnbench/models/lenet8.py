"""LeNet-5's proportions for pictures of 8×8 pixels: nine tenths of all weights are in one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._sides import check_square
from tnbench.models._width import scaled

VERSION = 1

SIDE = 8


class LeNet8(nn.Module):
    """Two 3x3 convolutions, max pooling to 4x4 pixels, and linear layers.

    20, 50 and 500 channels, times `width`, as in Caffe's LeNet-5: methods for linear layers have 800x500 weights.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3 = (scaled(full, width) for full in (20, 50, 500))
        self.conv1 = nn.Conv2d(channels, C1, 3, padding=1)
        self.conv2 = nn.Conv2d(C1, C2, 3, padding=1)
        self.fc1 = nn.Linear(16 * C2, C3)
        self.fc2 = nn.Linear(C3, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, 8, 8) to scores (N, classes)."""
        x = functional.relu(self.conv1(pictures))
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        scores: Tensor = self.fc2(functional.relu(self.fc1(x.flatten(1))))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """The network for pictures (C, 8, 8)."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    check_square(name, in_shape, (SIDE,), "digits has them")
    return LeNet8(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``fc2``."""
    return first_and_last(model)
