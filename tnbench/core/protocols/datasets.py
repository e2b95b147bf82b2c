"""What a data set provides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tnbench.core.protocols.weights import Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pictures scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Augmentation:
    """What training does to pictures, each in a way of its own.

    First `resized`, where it is not 0: a part of at least this share of the area, with sides like 3:4 to 4:3, becomes
    the picture (Szegedy et al. 2015). Then pad each side by `crop` pixels (`pad`: black, or mirrored) and crop back at
    random; `flip` half of them; set a square of `cutout` pixels, cut off at the borders, to the mean colour
    (DeVries and Taylor, arXiv:1708.04552).
    """

    crop: int = 0
    flip: bool = False
    pad: Literal["zeros", "reflect"] = "zeros"
    cutout: int = 0
    resized: float = 0.0


class StoredPictures(Protocol):
    """Pictures that are read when asked for; to who indexes them they are a tensor (N, C, H, W), uint8."""

    @property
    def shape(self) -> Shape:
        """(N, C, H, W)."""

    def __len__(self) -> int:
        """The number of pictures."""

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The pictures at `indices` (n,), as they are evaluated: uint8 (n, C, H, W)."""

    def read_parts(self, indices: Tensor, least: float, *, seed: int, epoch: int) -> Tensor:
        """As indexing, but of each picture a random part of at least the share `least` of its area, resized."""

    def subset(self, indices: Tensor) -> StoredPictures:
        """The pictures at `indices`, unread."""

    def to(self, device: torch.device) -> StoredPictures:
        """These pictures, which go to a device only as they are read."""


@dataclass(frozen=True)
class Pictures:
    """A data set.

    Pictures are uint8 tensors (N, C, H, W), or are read from their files as training and evaluation come to them;
    labels are int64 tensors (N,). `digest` identifies the bytes and the split. `meaningful` is False where labels are
    made up, so that accuracy is left empty.
    """

    train: Tensor | StoredPictures
    train_labels: Tensor
    test: Tensor | StoredPictures
    test_labels: Tensor
    classes: int
    digest: str
    normalisation: Normalisation
    augmentation: Augmentation = Augmentation()
    meaningful: bool = True

    @property
    def in_shape(self) -> Shape:
        """(C, H, W) of one picture."""
        return tuple(self.train.shape[1:])


@dataclass(frozen=True)
class Wanted:
    """One file or folder of a data set: where it is looked for (any of `paths`), and which one is there."""

    name: str
    paths: tuple[Path, ...]
    found: Path | None


class Dataset(Protocol):
    """Pictures and labels."""

    VERSION: int

    def load(self, name: str, options: Any, root: Path) -> Pictures:
        """Read everything, or find out what there is to read.

        Raises UsageError that names the files wanted and where, or the file that is damaged.
        """

    def digest(self, name: str, options: Any, root: Path) -> str:
        """The digest that `load` would give, cheaply and without torch. Raises as `load` does for absent files."""

    def wanted(self, name: str, options: Any, root: Path) -> Sequence[Wanted]:
        """The files and folders that the data set is read from; empty where it is embedded or generated."""

    def fetch(self, name: str, options: Any, root: Path) -> None:
        """Download the files into `root` where there is a network. Raises TnbenchError saying what failed."""
