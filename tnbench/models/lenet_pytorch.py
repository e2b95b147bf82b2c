"""LeNet of PyTorch's early MNIST example: 10-20-50-10, 21,840 parameters, without its dropout."""

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

SIDE = 28


class LeNetPyTorch(nn.Module):
    """5x5 convolutions without padding, max pooling before each ReLU; the names are those of many tutorials' files.

    10, 20 and 50 channels, times `width`; the linear layers begin at 4x4 pixels.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3 = (scaled(full, width) for full in (10, 20, 50))
        self.conv1 = nn.Conv2d(channels, C1, 5)
        self.conv2 = nn.Conv2d(C1, C2, 5)
        self.fc1 = nn.Linear(16 * C2, C3)
        self.fc2 = nn.Linear(C3, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, 28, 28) to scores (N, classes)."""
        x = functional.relu(functional.max_pool2d(self.conv1(pictures), 2))
        x = functional.relu(functional.max_pool2d(self.conv2(x), 2))
        scores: Tensor = self.fc2(functional.relu(self.fc1(x.flatten(1))))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """The network for pictures (C, 28, 28)."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    check_square(name, in_shape, (SIDE,), "mnist has them")
    return LeNetPyTorch(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``fc2``."""
    return first_and_last(model)
