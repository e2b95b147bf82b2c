"""VGG-16 for CIFAR: 13 convolutions with BatchNorm, pooled to one pixel, one linear layer; 14,728,266 parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

LEAST_SIDE = 32
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions between the poolings: configuration D of the paper."""


class Vgg16(nn.Module):
    """Configuration D of Simonyan and Zisserman 2014 (arXiv:1409.1556) for pictures of 32x32 pixels.

    Instead of the three linear layers of ImageNet there is one, as papers on CIFAR have it. All numbers of channels
    are times `width`. Names and biases of the convolutions are those of kuangliu/pytorch-cifar.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers(channels, width))
        self.classifier = nn.Linear(scaled(STAGES[-1][-1], width), classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        scores: Tensor = self.classifier(self.features(pictures).mean((2, 3)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """VGG-16 for pictures with sides of at least 32."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels between pictures and scores."""
    check_least(name, in_shape, LEAST_SIDE, "halves pictures five times")
    return Vgg16(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``features.0`` and ``classifier``."""
    return first_and_last(model)


def _layers(channels: int, width: float) -> Iterator[nn.Module]:
    for stage in STAGES:
        for out in (scaled(full, width) for full in stage):
            yield from (nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())
            channels = out
        yield nn.MaxPool2d(2)
