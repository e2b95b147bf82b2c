"""Residual blocks whose shortcut is a 1x1 convolution with BatchNorm where the shape changes (He et al.'s option B)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; a `stride` of 2 halves the sides of the pictures.

    The names of the parameters are those of the checkpoints that are commonly published. `project` says whether the
    shortcut is a convolution. No ReLU follows the sum.
    """

    def __init__(self, channels: int, out: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = projection(channels, out, stride) if project else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H / stride, W / stride), rounded up."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        total: Tensor = y + self.shortcut(x)
        return total


class ReluBlock(Block):
    """A block with a ReLU after the sum, as in the paper."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H / stride, W / stride), rounded up."""
        return functional.relu(super().forward(x))


def projection(channels: int, out: int, stride: int) -> nn.Sequential:
    """A 1x1 convolution with BatchNorm."""
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def stage(block: type[Block], channels: int, out: int, blocks: int, *, stride: int, project: bool) -> nn.Sequential:
    """`blocks` blocks, of which the first has the `stride` and changes the number of channels."""
    first = block(channels, out, stride, project)
    return nn.Sequential(first, *(block(out, out, 1, False) for _ in range(blocks - 1)))
