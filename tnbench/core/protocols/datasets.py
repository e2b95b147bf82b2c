"""What a data set provides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tnbench.core.protocols.weights import Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pictures scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Augmentation:
    """What training does to pictures: zero-pad by `crop` and crop back at random; `flip` half of them."""

    crop: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Pictures:
    """A data set in memory.

    Pictures are uint8 tensors (N, C, H, W), labels int64 tensors (N,). `digest` identifies the bytes and the split.
    `meaningful` is False where labels are made up, so that accuracy is left empty.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
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
    """One file of a data set: where it is looked for (any of `paths`), and which one is there."""

    name: str
    paths: tuple[Path, ...]
    found: Path | None


class Dataset(Protocol):
    """Pictures and labels."""

    VERSION: int

    def load(self, name: str, options: Any, root: Path) -> Pictures:
        """Read everything. Raises UsageError that names the files wanted and where, or the file that is damaged."""

    def digest(self, name: str, options: Any, root: Path) -> str:
        """The digest that `load` would give, cheaply and without torch. Raises as `load` does for absent files."""

    def wanted(self, name: str, options: Any, root: Path) -> Sequence[Wanted]:
        """The files that the data set is read from; empty where it is embedded or generated."""

    def fetch(self, name: str, options: Any, root: Path) -> None:
        """Download the files into `root` where there is a network. Raises TnbenchError saying what failed."""
