"""Options of data sets whose pictures are augmented in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Augmentation


@dataclass(frozen=True)
class Augmented:
    """Training crops of `crop` pixels' padding (`pad`: black or mirrored), flips, and squares of `cutout` pixels.

    It is for the data set called `dataset`, whose pictures are `pixels` high and wide.
    """

    dataset = "dataset"
    pixels = 32

    crop: int = 0
    flip: bool = False
    pad: Literal["zeros", "reflect"] = "zeros"
    cutout: int = 0

    def __post_init__(self) -> None:
        for option in ("crop", "cutout"):
            if getattr(self, option) < 0:
                raise UsageError(f"{self.dataset}: got {option}={getattr(self, option)}, wanted pixels from 0 on")
        if self.crop >= self.pixels:
            raise UsageError(
                f"{self.dataset}: got crop={self.crop}, wanted less than the {self.pixels} pixels of a side: a crop "
                f"may leave all of the picture, and a mirror image ends there"
            )
        if self.cutout >= 2 * self.pixels:
            raise UsageError(
                f"{self.dataset}: got cutout={self.cutout}, wanted less than {2 * self.pixels} pixels: such a square "
                f"covers all of the picture, wherever its centre is"
            )

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(crop=self.crop, flip=self.flip, pad=self.pad, cutout=self.cutout)


@dataclass(frozen=True)
class CroppedAndFlipped(Augmented):
    """Unless options say otherwise crops of 4 pixels' padding and flips, as papers do on CIFAR."""

    crop: int = 4
    flip: bool = True
