"""MobileNetV2 for CIFAR, with strides for 32x32 pixels; 2,296,922 parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._projected import projection
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

LEAST_SIDE = 8
STEM, HEAD = 32, 1280
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block; the paper's stem and its second stage have stride 2."""


class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, depthwise 3x3, 1x1 convolution without a ReLU after it.

    The shortcut, which strided blocks lack, is a convolution where `project` says so.
    """

    def __init__(self, channels: int, out: int, expansion: int, stride: int, project: bool) -> None:
        super().__init__()
        inner = expansion * channels
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = projection(channels, out, 1) if project else nn.Sequential()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H / stride, W / stride), rounded up."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        total: Tensor = y + self.shortcut(x) if self.stride == 1 else y
        return total


class MobileNetV2(nn.Module):
    """Sandler et al. 2018 (arXiv:1801.04381) as kuangliu/pytorch-cifar has it.

    ReLU instead of ReLU6, and a shortcut in every block of stride 1: a 1x1 convolution where the channels change. All
    numbers of channels are times `width`.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        stem, last, head = (scaled(full, width) for full in (STEM, STAGES[-1][1], HEAD))
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layers = nn.Sequential(*_blocks(width))
        self.conv2 = nn.Conv2d(last, head, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(head)
        self.linear = nn.Linear(head, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        x = functional.relu(self.bn2(self.conv2(self.layers(x))))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """MobileNetV2 for pictures with sides of at least 8."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels: the paper's width multiplier, without its rounding to 8."""
    check_least(name, in_shape, LEAST_SIDE, "halves pictures three times")
    return MobileNetV2(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``; methods refuse the depthwise convolutions by themselves."""
    return first_and_last(model)


def _blocks(width: float) -> Iterator[InvertedResidual]:
    before = STEM
    for expansion, out, blocks, first_stride in STAGES:
        for stride in (first_stride, *[1] * (blocks - 1)):
            project = stride == 1 and before != out
            yield InvertedResidual(scaled(before, width), scaled(out, width), expansion, stride, project)
            before = out
