"""Your own pictures: imagefolder[NAME] reads NAME/train/CLASS/* and NAME/val/CLASS/* (or test/) under the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets._folder import (
    FolderOptions,
    Picture,
    as_pictures,
    check_halves,
    class_folders,
    digest_pictures,
    find_pictures,
    look_for_halves,
)

VERSION = 1

HALVES = {"train": ("train",), "val": ("val", "test")}


class Options(FolderOptions):
    """Which folder, and what is done to its pictures."""

    dataset = "imagefolder"


def load(name: str, options: Options, root: Path) -> Pictures:
    """Pictures that are read when they are needed, (N, 3, side, side); classes are numbered in the order of names."""
    train, test, classes = _found(name, options, root)
    return as_pictures(train, test, options, classes)


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the files' names, sizes and labels."""
    train, test, _ = _found(name, options, root)
    return digest_pictures({"train": train[1], "test": test[1]})


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """The two folders of class folders."""
    return look_for_halves(options.folder(name, root), HALVES)


def fetch(name: str, options: Options, root: Path) -> None:
    """Raise NotApplicable: nobody else has them."""
    train, val = (half.paths[0] for half in wanted(name, options, root))
    raise NotApplicable(
        f"{name} reads pictures of your own, which cannot be fetched; put them into {train}/CLASS/ and {val}/CLASS/"
    )


def _found(
    name: str, options: Options, root: Path
) -> tuple[tuple[Path, list[Picture]], tuple[Path, list[Picture]], int]:
    """Folder and pictures of the training half and of the test half, and the number of classes."""
    train, test = check_halves(name, root, wanted(name, options, root)).values()
    labels = {folder: label for label, folder in enumerate(class_folders(train))}
    meaning = f"no class of {train}"
    halves = [(folder, find_pictures(name, folder, labels, meaning)) for folder in (train, test)]
    return halves[0], halves[1], len(labels)
