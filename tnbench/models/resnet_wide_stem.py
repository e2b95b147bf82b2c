"""Residual networks for CIFAR with a stem of 64 channels and no ReLU inside a stage, as published for CIFAR-100."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.engine.candidates import first_and_last
from tnbench.models._kaiming import initialise
from tnbench.models._projected import Block, stage
from tnbench.models._sides import check_least
from tnbench.models._width import scaled

VERSION = 1

NAMES = {
    "resnet8_wide_stem": "residual network of 8 layers with a stem of 64 channels, 112,452 parameters for CIFAR-100",
    "resnet20_wide_stem": "residual network of 20 layers with a stem of 64 channels, 306,884 parameters for CIFAR-100",
    "resnet32_wide_stem": "residual network of 32 layers with a stem of 64 channels, 501,316 parameters for CIFAR-100",
}

LEAST_SIDE = 13
POOL = 4


class WideStemResNet(nn.Module):
    """Three stages of `blocks` blocks, average pooling by 4x4, one linear layer.

    The stem has 64 channels, the stages 16, 32 and 64, times `width`; the first shortcut of every stage is a
    convolution, and a ReLU follows each stage, not each block. This is the architecture of the CIFAR-100 checkpoints of
    karanchahal/distiller (`pretrained/`), and the names are theirs.
    """

    def __init__(self, blocks: int, in_shape: Shape, classes: int, width: float) -> None:
        super().__init__()
        stem, C1, C2, C3 = (scaled(full, width) for full in (64, 16, 32, 64))
        self.conv1 = nn.Conv2d(in_shape[0], stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = stage(Block, stem, C1, blocks, stride=1, project=True)
        self.layer2 = stage(Block, C1, C2, blocks, stride=2, project=True)
        self.layer3 = stage(Block, C2, C3, blocks, stride=2, project=True)
        height, width_ = (_quarter(side) // POOL for side in in_shape[1:])
        self.linear = nn.Linear(C3 * height * width_, classes)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, channels, H, W) to scores (N, classes)."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        for layer in (self.layer1, self.layer2, self.layer3):
            x = functional.relu(layer(x))
        scores: Tensor = self.linear(functional.avg_pool2d(x, POOL).flatten(1))
        return scores


def build(name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
    """The network called `name`, of 6n + 2 layers, for pictures with sides of at least 13."""
    return narrower(name, options, in_shape, classes, 1.0)


def narrower(name: str, options: Any, in_shape: Shape, classes: int, width: float) -> nn.Module:
    """The same network with `width` times the channels, stem and shortcuts included."""
    check_least(name, in_shape, LEAST_SIDE, f"halves pictures twice, pools them by {POOL}x{POOL}")
    layers = int(name.removeprefix("resnet").partition("_")[0])
    return WideStemResNet((layers - 2) // 6, in_shape, classes, width)


def keep_dense(model: nn.Module) -> Sequence[str]:
    """``conv1`` and ``linear``."""
    return first_and_last(model)


def _quarter(side: int) -> int:
    """What two convolutions of stride 2 leave of a side."""
    return -(-side // 4)
