"""What CIFAR-10 and CIFAR-100 share: torchvision reads them, and every file is held against its original."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnbench.core.protocols import Pictures
from tnbench.core.settings import digest_of
from tnbench.datasets._augmentation import CroppedAndFlipped
from tnbench.datasets._files import Original, check, download, look_for
from tnbench.engine.normalisation import NORMALISATIONS

Originals = Mapping[str, Original]


def load(name: str, options: CroppedAndFlipped, root: Path, reader: Any, checked: str, classes: int) -> Pictures:
    """All pictures, uint8 (N, 3, 32, 32), as torchvision's `reader` gives them; `checked` is their digest."""
    import torch

    train, test = (reader(root, train=part) for part in (True, False))
    return Pictures(
        train=torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
        train_labels=torch.tensor(train.targets),
        test=torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
        test_labels=torch.tensor(test.targets),
        classes=classes,
        digest=checked,
        normalisation=NORMALISATIONS[name],
        augmentation=options.augmentation,
    )


def digest(name: str, root: Path, folder: str, originals: Originals) -> str:
    """The digest of the originals, once every file's MD5 has been found equal to its original's."""
    check(name, root, look_for(root / folder, list(originals)), originals)
    return digest_of({name: originals})


def fetch(name: str, root: Path, reader: Any, folder: str, originals: Originals) -> None:
    """Download and unpack the archive with torchvision, then check every file."""
    download(name, root, reader.url, lambda: reader(root, download=True))
    check(name, root, look_for(root / folder, list(originals)), originals)
