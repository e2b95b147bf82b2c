"""CIFAR-10: 50,000 + 10,000 colour photographs of 32x32 pixels in ten classes (Krizhevsky 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets import _cifar
from tnbench.datasets._augmentation import CroppedAndFlipped
from tnbench.datasets._files import Original, look_for

VERSION = 1

FOLDER = "cifar-10-batches-py"

ORIGINALS = {
    "data_batch_1": Original(31_035_704, "c99cafc152244af753f735de768cd75f"),
    "data_batch_2": Original(31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
    "data_batch_3": Original(31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
    "data_batch_4": Original(31_035_696, "634d18415352ddfa80567beed471001a"),
    "data_batch_5": Original(31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
    "test_batch": Original(31_035_526, "40351d587109b95175f43aff81a1287e"),
    "batches.meta": Original(158, "5ff9c542aee3614f3951f8cda6e48888"),
}
"""The files of the python version, in torchvision's layout; torchvision reads no others."""


class Options(CroppedAndFlipped):
    """Crops of 4 pixels' padding and flips unless they say otherwise."""

    dataset = "cifar10"


def load(name: str, options: Options, root: Path) -> Pictures:
    """All pictures, uint8 (N, 3, 32, 32). Trained on with crops of 4 pixels' padding and flips, as papers do."""
    from torchvision.datasets import CIFAR10

    return _cifar.load(name, options, root, CIFAR10, digest(name, options, root), classes=10)


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the originals, once every file's MD5 has been found equal to its original's."""
    return _cifar.digest(name, root, FOLDER, ORIGINALS)


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """The seven files of ``cifar-10-batches-py/``."""
    return look_for(root / FOLDER, list(ORIGINALS))


def fetch(name: str, options: Options, root: Path) -> None:
    """Download and unpack the archive with torchvision, then check every file."""
    from torchvision.datasets import CIFAR10

    _cifar.fetch(name, root, CIFAR10, FOLDER, ORIGINALS)
