"""ResNet-9 for CIFAR, the fast one of David Page's DAWNBench entry, with BatchNorm; 6,573,120 parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

LEAST_SIDE = 8
TEMPERATURE = 0.125
"""What the scores are multiplied by, as in the original."""


class Residual(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm and ReLU, and the identity around both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels)
        self.conv2 = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return x + y


class ResNet9(nn.Module):
    """64, 128, 256 and 512 channels, times `width`, residuals at 128 and 512, global max pooling, one linear layer.

    David Page, "How to train your ResNet" (2018), the network of the parts 1 to 4, cifar10-fast: no bias anywhere.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3, C4 = (scaled(full, width) for full in (64, 128, 256, 512))
        self.prep = _convolution(channels, C1)
        self.layer1 = nn.Sequential(_convolution(C1, C2), nn.MaxPool2d(2), Residual(C2))
        self.layer2 = nn.Sequential(_convolution(C2, C3), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(_convolution(C3, C4), nn.MaxPool2d(2), Residual(C4))
        self.linear = nn.Linear(C4, classes, bias=False)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = self.layer3(self.layer2(self.layer1(self.prep(pictures))))
        scores: Tensor = self.linear(x.amax((2, 3)))
        return TEMPERATURE * scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """ResNet-9 for pictures with sides of at least 8."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    check_least(name, in_shape, LEAST_SIDE, "halves pictures three times")
    return ResNet9(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """The convolution of ``prep``, and ``linear``."""
    return first_and_last(model)


def _convolution(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
