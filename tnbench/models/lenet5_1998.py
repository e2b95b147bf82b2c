"""LeNet-5 as published in 1998, but for all-dense connections: 6-16-120-84-10, 61,706 parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._sides import check_square
from tnbench.models._width import scaled

VERSION = 1

SIDES = (28, 32)


class LeNet1998(nn.Module):
    """LeCun, Bottou, Bengio and Haffner 1998, figure 2: tanh, average pooling, pictures padded from 28 to 32 pixels.

    The paper's C3 sees only some maps of S2, its poolings have coefficients, and its output layer measures distances:
    here C3 and the output are dense, as papers that quote 61,706 parameters have them, and poolings have no
    parameters. 6, 16, 120 and 84 channels, times `width`.
    """

    def __init__(self, channels: int, side: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3, C4 = (scaled(full, width) for full in (6, 16, 120, 84))
        self.conv1 = nn.Conv2d(channels, C1, 5, padding=(SIDES[-1] - side) // 2)
        self.conv2 = nn.Conv2d(C1, C2, 5)
        self.conv3 = nn.Conv2d(C2, C3, 5)
        self.fc1 = nn.Linear(C3, C4)
        self.fc2 = nn.Linear(C4, classes)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, side, side) to scores (N, classes)."""
        x = functional.avg_pool2d(torch.tanh(self.conv1(pictures)), 2)
        x = functional.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.conv3(x)).flatten(1)
        scores: Tensor = self.fc2(torch.tanh(self.fc1(x)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """LeNet-5 of 1998 for pictures of 28x28 pixels, which it pads, or 32x32."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    check_square(name, in_shape, SIDES, "mnist and cifar10 have them")
    return LeNet1998(in_shape[0], in_shape[1], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``fc2``."""
    return first_and_last(model)
