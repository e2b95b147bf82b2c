"""Pictures in class folders: found and numbered without torch, identified by names and sizes, read when needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Augmentation, Pictures, Wanted
from tnbench.engine.normalisation import NORMALISATIONS

if TYPE_CHECKING:
    from tnbench.engine.files import Files

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture, in any case of letters, as for torchvision's ImageFolder."""


class Picture(NamedTuple):
    """One file: its path under the half's folder, with ``/``, its size in bytes and its label."""

    name: str
    size: int
    label: int


@dataclass(frozen=True)
class FolderOptions:
    """`bare` is the folder's name under the data root; the plug-in's own if there is none.

    Evaluated is the `side` x `side` square in the centre of a picture whose shorter side was resized to `short` (0: 8/7
    of `side`, as 256 for 224). Trained on are random parts of at least the share `resized` of the area, flipped or not.
    They are for the data set called `dataset`.
    """

    dataset = "dataset"

    bare: tuple[str, ...] = ()
    side: int = 224
    short: int = 0
    resized: float = 0.08
    flip: bool = True

    def __post_init__(self) -> None:
        if len(self.bare) > 1:
            raise UsageError(f"{self.dataset}: got the folders {', '.join(self.bare)}, wanted the name of one")
        if self.side < 1:
            raise UsageError(f"{self.dataset}: got side={self.side}, wanted pixels from 1 on such as 224")
        if self.short and self.short < self.side:
            raise UsageError(f"{self.dataset}: got short={self.short}, wanted at least side={self.side}")
        if not 0 <= self.resized <= 1:
            raise UsageError(
                f"{self.dataset}: got resized={self.resized:g}, wanted a share from 0 (none) to 1 such as 0.08"
            )

    def folder(self, name: str, root: Path) -> Path:
        return root / (self.bare[0] if self.bare else name)


def look_for_halves(folder: Path, halves: Mapping[str, Sequence[str]]) -> list[Wanted]:
    """Each half as the first that is there of the sub-folders that it may be."""
    found = []
    for half, names in halves.items():
        paths = tuple(folder / name for name in names)
        found.append(Wanted(f"{half}/", paths, next(filter(Path.is_dir, paths), None)))
    return found


def check_halves(dataset: str, root: Path, wanted: Sequence[Wanted]) -> dict[str, Path]:
    """The folder of each half, by name. Raises UsageError that names those that are not there."""
    absent = [half for half in wanted if half.found is None]
    if absent:
        lines = "\n".join("  " + " or ".join(map(str, half.paths)) for half in absent)
        raise UsageError(
            f"{dataset}: {len(absent)} of {len(wanted)} folders are not under the data root {root}; wanted\n{lines}\n"
            f"point --data-root or TNBENCH_DATA to where they are; tnbench data fetch {dataset} says how to get them"
        )
    return {half.name: half.found for half in wanted if half.found is not None}


def class_folders(folder: Path) -> list[str]:
    """Names of the folders inside `folder`, hidden ones apart, in sorted order."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def find_pictures(dataset: str, folder: Path, labels: Mapping[str, int], meaning: str) -> list[Picture]:
    """The pictures in the class folders of `folder`, each class in the order of names.

    Raises UsageError naming a class folder that has no label (`labels` are what `meaning` says) or is empty.
    """
    classes = class_folders(folder)
    if not classes:
        raise UsageError(f"{dataset}: {folder} has no class folders; wanted one folder of pictures for each class")
    found: list[Picture] = []
    for name in classes:
        if name not in labels:
            raise UsageError(f"{dataset}: the class folder {folder / name} is {meaning}; rename it or move it away")
        pictures = [Picture(file, size, labels[name]) for file, size in _files(folder, name)]
        if not pictures:
            raise UsageError(
                f"{dataset}: the class folder {folder / name} has no pictures; wanted files that end in "
                f"{', '.join(SUFFIXES)}, or no such folder"
            )
        found += pictures
    return found


def digest_pictures(halves: Mapping[str, Iterable[Picture]]) -> str:
    """16 hex digits of SHA-256 over halves, names, sizes and labels; not over pixels, which would take minutes."""
    digest = hashlib.sha256()
    for half, pictures in halves.items():
        for picture in pictures:
            digest.update(
                f"{half}\0{picture.name}\0{picture.size}\0{picture.label}\n".encode("utf-8", "surrogateescape")
            )
    return digest.hexdigest()[:16]


def as_pictures(
    train: tuple[Path, Sequence[Picture]],
    test: tuple[Path, Sequence[Picture]],
    options: FolderOptions,
    classes: int,
) -> Pictures:
    """The data set of two halves, of which no picture is read yet; normalised as ImageNet is."""
    import torch

    return Pictures(
        train=_stored(*train, options),
        train_labels=torch.tensor([picture.label for picture in train[1]], dtype=torch.int64),
        test=_stored(*test, options),
        test_labels=torch.tensor([picture.label for picture in test[1]], dtype=torch.int64),
        classes=classes,
        digest=digest_pictures({"train": train[1], "test": test[1]}),
        normalisation=NORMALISATIONS["imagenet"],
        augmentation=Augmentation(flip=options.flip, resized=options.resized),
    )


def _stored(folder: Path, pictures: Sequence[Picture], options: FolderOptions) -> Files:
    import numpy as np

    from tnbench.engine.files import Files

    names = np.array([os.fsencode(picture.name) for picture in pictures], dtype=np.bytes_)
    return Files(folder, names, options.side, options.short or round(options.side * 8 / 7))


def _files(folder: Path, inside: str) -> list[tuple[str, int]]:
    """Path under `folder`, with ``/``, and size of every picture below its sub-folder `inside`, sorted.

    Hidden files and folders, such as those that systems put beside others (``._a.png``), are none of its pictures.
    """
    found: list[tuple[str, int]] = []
    for entry in os.scandir(folder / inside):
        path = f"{inside}/{entry.name}"
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _files(folder, path)
        elif entry.name.lower().endswith(SUFFIXES):
            found.append((path, entry.stat().st_size))
    return sorted(found)
