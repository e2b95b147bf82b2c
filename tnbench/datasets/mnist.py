"""MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels (LeCun, Cortes, Burges)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets import _idx
from tnbench.datasets._files import Original

VERSION = 1

FOLDER = Path("MNIST") / "raw"

ORIGINALS = {
    "train-images-idx3-ubyte": Original(47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": Original(60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": Original(7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": Original(10_008, "27ae3e4e09519cfbb04c329615203637"),
}
"""The idx files, in torchvision's layout, each of them plain or gzipped; sizes and MD5s are of the plain ones."""


def load(name: str, options: Any, root: Path) -> Pictures:
    """All pictures, uint8 (N, 1, 28, 28). No augmentation."""
    return _idx.load(name, root, FOLDER, ORIGINALS)


def digest(name: str, options: Any, root: Path) -> str:
    """The digest of the originals, the same for plain and gzipped files, once each file's content is checked."""
    return _idx.digest(name, root, FOLDER, ORIGINALS)


def wanted(name: str, options: Any, root: Path) -> Sequence[Wanted]:
    """The four files of ``MNIST/raw/``."""
    return _idx.wanted(root, FOLDER, ORIGINALS)


def fetch(name: str, options: Any, root: Path) -> None:
    """Download and unpack the files with torchvision unless all are there, then check each."""
    from torchvision.datasets import MNIST

    _idx.fetch(name, root, MNIST, FOLDER, ORIGINALS)
