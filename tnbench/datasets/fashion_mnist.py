"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28 pixels, ten classes (Xiao, Rasul, Vollgraf 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets import _idx
from tnbench.datasets._files import Original

VERSION = 1

FOLDER = Path("FashionMNIST") / "raw"

ORIGINALS = {
    "train-images-idx3-ubyte": Original(47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": Original(60_008, "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": Original(7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": Original(10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
}
"""The idx files, in torchvision's layout, each of them plain or gzipped; sizes and MD5s are of the plain ones."""


def load(name: str, options: Any, root: Path) -> Pictures:
    """All pictures, uint8 (N, 1, 28, 28). No augmentation."""
    return _idx.load(name, root, FOLDER, ORIGINALS)


def digest(name: str, options: Any, root: Path) -> str:
    """The digest of the originals, the same for plain and gzipped files, once each file's content is checked."""
    return _idx.digest(name, root, FOLDER, ORIGINALS)


def wanted(name: str, options: Any, root: Path) -> Sequence[Wanted]:
    """The four files of ``FashionMNIST/raw/``."""
    return _idx.wanted(root, FOLDER, ORIGINALS)


def fetch(name: str, options: Any, root: Path) -> None:
    """Download and unpack the files with torchvision unless all are there, then check each."""
    from torchvision.datasets import FashionMNIST

    _idx.fetch(name, root, FashionMNIST, FOLDER, ORIGINALS)
