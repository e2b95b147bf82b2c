"""CIFAR-10: 50,000 + 10,000 colour photographs of 32x32 pixels in ten classes (Krizhevsky 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tnbench.core.protocols import Augmentation, Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.datasets._files import Original, check, download, look_for
from tnbench.engine.normalisation import NORMALISATIONS

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


def load(name: str, options: Any, root: Path) -> Pictures:
    """All pictures, uint8 (N, 3, 32, 32). Trained on with crops of 4 pixels' padding and flips, as papers do."""
    import torch
    from torchvision.datasets import CIFAR10

    digest_ = digest(name, options, root)
    train, test = (CIFAR10(root, train=part) for part in (True, False))
    return Pictures(
        train=torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
        train_labels=torch.tensor(train.targets),
        test=torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
        test_labels=torch.tensor(test.targets),
        classes=10,
        digest=digest_,
        normalisation=NORMALISATIONS["cifar10"],
        augmentation=Augmentation(crop=4, flip=True),
    )


def digest(name: str, options: Any, root: Path) -> str:
    """The digest of the originals, once every file's MD5 has been found equal to its original's."""
    check(name, root, wanted(name, options, root), ORIGINALS)
    return digest_of({name: ORIGINALS})


def wanted(name: str, options: Any, root: Path) -> Sequence[Wanted]:
    """The seven files of ``cifar-10-batches-py/``."""
    return look_for(root / FOLDER, list(ORIGINALS))


def fetch(name: str, options: Any, root: Path) -> None:
    """Download and unpack the archive with torchvision, then check every file."""
    from torchvision.datasets import CIFAR10

    download(name, root, CIFAR10.url, lambda: CIFAR10(root, download=True))
    check(name, root, wanted(name, options, root), ORIGINALS)
