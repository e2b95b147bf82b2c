"""SVHN: 73,257 + 26,032 digits of house numbers, 32x32 pixels; svhn[extra] trains on 531,131 more (Netzer 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Pictures, Wanted
from tnbench.core.settings import digest_of
from tnbench.datasets._augmentation import Augmented
from tnbench.datasets._files import Original, check, download, look_for
from tnbench.engine.normalisation import NORMALISATIONS

VERSION = 1

ORIGINALS = {
    "train_32x32.mat": Original(182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
    "test_32x32.mat": Original(64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
    "extra_32x32.mat": Original(1_329_278_602, "a93ce644f1a588dc4d68dda5feec44a7"),
}
"""The cropped digits, in torchvision's layout: right under the data root."""


@dataclass(frozen=True)
class Options(Augmented):
    """The bare option ``extra`` trains on the easier extra pictures too. No flips: a mirrored digit is no digit."""

    bare: tuple[str, ...] = ()

    dataset = "svhn"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bare not in ((), ("extra",)):
            raise UsageError(f"svhn: got the bare option {self.bare[-1]!r}, wanted 'extra' once or none")

    @property
    def halves(self) -> tuple[str, ...]:
        """torchvision's names of the parts to train on, and ``test``."""
        return ("train", *self.bare, "test")


def load(name: str, options: Options, root: Path) -> Pictures:
    """All pictures, uint8 (N, 3, 32, 32), labelled with the digit; the extra ones behind the training's own."""
    import torch
    from torchvision.datasets import SVHN

    digest_ = digest(name, options, root)
    read = [SVHN(root, split=half) for half in options.halves]
    pixels = [torch.from_numpy(part.data).contiguous() for part in read]
    labels = [torch.from_numpy(part.labels) for part in read]
    return Pictures(
        train=torch.cat(pixels[:-1]),
        train_labels=torch.cat(labels[:-1]),
        test=pixels[-1],
        test_labels=labels[-1],
        classes=10,
        digest=digest_,
        normalisation=NORMALISATIONS["svhn"],
        augmentation=options.augmentation,
    )


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the originals, once every file's MD5 has been found equal to its original's."""
    check(name, root, wanted(name, options, root), ORIGINALS)
    return digest_of({name: {file: ORIGINALS[file] for file in _names(options)}})


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """The two or, with ``extra``, three .mat files."""
    return look_for(root, _names(options))


def fetch(name: str, options: Options, root: Path) -> None:
    """Download the files with torchvision, then check each."""
    from torchvision.datasets import SVHN

    for half in options.halves:
        download(name, root, SVHN.split_list[half][0], partial(SVHN, root, split=half, download=True))
    check(name, root, wanted(name, options, root), ORIGINALS)


def _names(options: Options) -> list[str]:
    return [f"{half}_32x32.mat" for half in options.halves]
