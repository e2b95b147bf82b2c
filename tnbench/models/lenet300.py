"""LeNet-300-100: three linear layers for MNIST, 266,610 parameters."""

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


class LeNet300(nn.Module):
    """784-300-100-10 with ReLU, of LeCun et al. 1998, which had sigmoids: what pruning papers take beside LeNet-5.

    300 and 100 units, times `width`.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2 = (scaled(full, width) for full in (300, 100))
        self.fc1 = nn.Linear(channels * SIDE * SIDE, C1)
        self.fc2 = nn.Linear(C1, C2)
        self.fc3 = nn.Linear(C2, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, 28, 28) to scores (N, classes)."""
        x = functional.relu(self.fc1(pictures.flatten(1)))
        scores: Tensor = self.fc3(functional.relu(self.fc2(x)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """LeNet-300-100 for pictures (C, 28, 28)."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the units between pictures and scores."""
    check_square(name, in_shape, (SIDE,), "mnist has them")
    return LeNet300(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """The last layer only: the first is linear too, and has nine tenths of all weights."""
    return first_and_last(model)[1:]
