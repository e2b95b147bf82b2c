"""LeNet-5 as Caffe has it: 20-50-500-10, 431,080 parameters with one channel and ten classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.engine.compress import first_and_last

VERSION = 1

SIDE = 28


class LeNet5(nn.Module):
    """LeCun et al. 1998 in the form of Caffe's MNIST example: no padding, max pooling, one ReLU."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, classes)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)  # as Caffe's example; He's is too large where no ReLU follows
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, 28, 28) to scores (N, classes)."""
        x = functional.max_pool2d(self.conv1(pictures), 2)
        x = functional.max_pool2d(self.conv2(x), 2)
        scores: Tensor = self.fc2(functional.relu(self.fc1(x.flatten(1))))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """LeNet-5 for pictures (C, 28, 28)."""
    channels, height, width = in_shape
    if (height, width) != (SIDE, SIDE):
        raise NotApplicable(f"{name} takes pictures of {SIDE}x{SIDE} pixels, got {height}x{width}; mnist has them")
    return LeNet5(channels, classes)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``fc2``."""
    return first_and_last(model)
