"""Shapes, ranks, factors, and what is known of the layer that a weight belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
"""(O, I / groups, *k) of a convolution's weight, with one to three spatial sides, or (O, I) of a linear layer's."""

Ranks = tuple[int, ...]
Factors = tuple["Tensor", ...]


class Pixels(tuple[int, ...]):
    """Positions at which the parts of a factorised convolution run, for one picture.

    The first entry counts where the first 1x1 convolution runs, entry j those after the kernel was convolved along
    its first j spatial axes, and the last the output's. In two dimensions that is ``Pixels(inp, mid, out)``, with
    `mid` after a vertical (kH x 1) convolution. Along an axis where the kernel's side is 1 the first factor has the
    stride. A linear layer has ones.
    """

    def __new__(cls, *positions: int) -> Self:
        return super().__new__(cls, positions)

    @classmethod
    def ones(cls, shape: Shape) -> Self:
        """One position everywhere: with it multiply-accumulates are numbers of weights."""
        return cls(*(1 for _ in range(max(3, len(shape) - 1))))

    @property
    def inp(self) -> int:
        return self[0]

    @property
    def mid(self) -> int:
        return self[1]

    @property
    def out(self) -> int:
        return self[-1]


@dataclass(frozen=True)
class Stats:
    """What reaches a layer on calibration pictures: the second moment of its input patches, in float64.

    `patches` is (I·k, I·k) in the order of ``weight.flatten(1)``; (I, I) for a linear layer. On its diagonal the ridge
    is added already: `ridge` times the mean of the diagonal. `digest` identifies the pictures.
    """

    patches: Tensor
    channels: int
    ridge: float
    digest: str

    @property
    def channel_moment(self) -> Tensor:
        """(I, I): the mean over the kernel's offsets, for formats that whiten input channels only."""
        offsets = self.patches.shape[0] // self.channels
        blocks = self.patches.reshape(self.channels, offsets, self.channels, offsets)
        return blocks.diagonal(dim1=1, dim2=3).mean(-1)
