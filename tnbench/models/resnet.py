"""Residual networks for CIFAR (He et al. 2015), with the shortcuts that have no parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

NAMES = {
    "resnet8": "residual network of 8 layers for CIFAR (He et al. 2015), 75,290 parameters",
    "resnet20": "residual network of 20 layers for CIFAR (He et al. 2015), 269,722 parameters",
    "resnet32": "residual network of 32 layers for CIFAR (He et al. 2015), 464,154 parameters",
    "resnet44": "residual network of 44 layers for CIFAR (He et al. 2015), 658,586 parameters",
    "resnet56": "residual network of 56 layers for CIFAR (He et al. 2015), 853,018 parameters",
    "resnet110": "residual network of 110 layers for CIFAR (He et al. 2015), 1,727,962 parameters",
}

LEAST_SIDE = 8


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; a `stride` of 2 halves the sides of the pictures."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride = stride
        self.new_channels = out - channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H / stride, W / stride), rounded up."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A of the paper: every second pixel, and zeros for the new channels, half of them on each side."""
        if self.stride == 1:
            return x
        before = self.new_channels // 2
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.new_channels - before))


class ResNet(nn.Module):
    """Three stages of `blocks` blocks, global average pooling, one linear layer.

    The stages have 16, 32 and 64 channels, times `width`. The names of the parameters are those of the checkpoints
    that are commonly published for these networks.
    """

    def __init__(self, blocks: int, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3 = (scaled(full, width) for full in (16, 32, 64))
        self.conv1 = nn.Conv2d(channels, C1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(C1)
        self.layer1 = _stage(C1, C1, blocks, stride=1)
        self.layer2 = _stage(C1, C2, blocks, stride=2)
        self.layer3 = _stage(C2, C3, blocks, stride=2)
        self.linear = nn.Linear(C3, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """The residual network called `name`, of 6n + 2 layers, for pictures with sides of at least 8."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels, shortcuts included."""
    check_least(name, in_shape, LEAST_SIDE, "halves pictures twice")
    return ResNet((int(name.removeprefix("resnet")) - 2) // 6, in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``."""
    return first_and_last(model)


def _stage(channels: int, out: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(channels, out, stride)
    return nn.Sequential(first, *(Block(out, out, 1) for _ in range(blocks - 1)))
