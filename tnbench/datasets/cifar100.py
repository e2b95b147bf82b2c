"""CIFAR-100: 50,000 + 10,000 colour photographs of 32x32 pixels in a hundred classes (Krizhevsky 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets import _cifar
from tnbench.datasets._augmentation import CroppedAndFlipped
from tnbench.datasets._files import Original, look_for

VERSION = 1

FOLDER = "cifar-100-python"

ORIGINALS = {
    "train": Original(155_249_918, "16019d7e3df5f24257cddd939b257f8d"),
    "test": Original(31_049_707, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    "meta": Original(1_473, "7973b15100ade9c7d40fb424638fde48"),
}
"""The files of the python version, in torchvision's layout; torchvision reads no others."""


class Options(CroppedAndFlipped):
    """Crops of 4 pixels' padding and flips unless they say otherwise."""

    dataset = "cifar100"


def load(name: str, options: Options, root: Path) -> Pictures:
    """All pictures, uint8 (N, 3, 32, 32), with fine labels. Trained on with crops of 4 pixels' padding and flips."""
    from torchvision.datasets import CIFAR100

    return _cifar.load(name, options, root, CIFAR100, digest(name, options, root), classes=100)


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the originals, once every file's MD5 has been found equal to its original's."""
    return _cifar.digest(name, root, FOLDER, ORIGINALS)


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """The three files of ``cifar-100-python/``."""
    return look_for(root / FOLDER, list(ORIGINALS))


def fetch(name: str, options: Options, root: Path) -> None:
    """Download and unpack the archive with torchvision, then check every file."""
    from torchvision.datasets import CIFAR100

    _cifar.fetch(name, root, CIFAR100, FOLDER, ORIGINALS)
