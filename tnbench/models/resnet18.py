"""ResNet-18 for CIFAR: 3x3 stem of stride 1, no max pooling, 64 to 512 channels; 11,173,962 parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._projected import ReluBlock, stage
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

LEAST_SIDE = 8


class ResNet18(nn.Module):
    """Four stages of two blocks, global average pooling, one linear layer.

    He et al. 2015 (arXiv:1512.03385) describe it for ImageNet (``tv[resnet18]``); papers on CIFAR replace the stem. The
    names of the parameters are those of kuangliu/pytorch-cifar. All numbers of channels are times `width`.
    """

    def __init__(self, channels: int, classes: int, width: float) -> None:
        super().__init__()
        C1, C2, C3, C4 = (scaled(full, width) for full in (64, 128, 256, 512))
        self.conv1 = nn.Conv2d(channels, C1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(C1)
        self.layer1 = stage(ReluBlock, C1, C1, 2, stride=1, project=False)
        self.layer2 = stage(ReluBlock, C1, C2, 2, stride=2, project=True)
        self.layer3 = stage(ReluBlock, C2, C3, 2, stride=2, project=True)
        self.layer4 = stage(ReluBlock, C3, C4, 2, stride=2, project=True)
        self.linear = nn.Linear(C4, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """ResNet-18 for pictures with sides of at least 8."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels, shortcuts included."""
    check_least(name, in_shape, LEAST_SIDE, "halves pictures three times")
    return ResNet18(in_shape[0], classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``."""
    return first_and_last(model)
