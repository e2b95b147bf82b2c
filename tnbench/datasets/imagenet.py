"""ImageNet (ILSVRC 2012): 1.28 million + 50,000 photographs of 1,000 classes; imagenet[FOLDER] reads another folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Pictures, Wanted
from tnbench.datasets._devkit import ARCHIVE, read_wnids
from tnbench.datasets._folder import (
    SUFFIXES,
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

CLASSES = 1000

_VAL, _TRAIN = {"val": ("val",)}, {"train": ("train",)}
_FLAT = "ILSVRC2012_val_"


class Options(FolderOptions):
    """Which folder, and what is done to its pictures."""

    dataset = "imagenet"


def load(name: str, options: Options, root: Path) -> Pictures:
    """Pictures that are read when they are needed, (N, 3, side, side), with the standard class indices.

    Where there is no ``train/`` there are no training pictures: enough to evaluate. Some of the classes will do.
    """
    folder, train, test = _found(name, options, root)
    return as_pictures((folder / "train", train), (folder / "val", test), options, CLASSES)


def digest(name: str, options: Options, root: Path) -> str:
    """The digest of the files' names, sizes and labels."""
    _, train, test = _found(name, options, root)
    return digest_pictures({"train": train, "test": test})


def wanted(name: str, options: Options, root: Path) -> Sequence[Wanted]:
    """``val/`` and ``train/``, each with a folder of pictures for every wnid; ``train/`` only where one trains."""
    folder = options.folder(name, root)
    evaluates_only = (folder / "val").is_dir() and not (folder / "train").is_dir()
    return look_for_halves(folder, _VAL if evaluates_only else _TRAIN | _VAL)


def fetch(name: str, options: Options, root: Path) -> None:
    """Raise NotApplicable: ImageNet is given out to accounts only."""
    folder = options.folder(name, root)
    raise NotApplicable(
        f"{name} is given out to registered researchers only and cannot be fetched from here; with an account at "
        f"https://image-net.org download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar (tasks 1 and 2), and "
        f"unpack them into\n  {folder}/train/WNID/*.JPEG\n  {folder}/val/WNID/*.JPEG, or {folder}/val/*.JPEG with "
        f"{ARCHIVE} in {folder}\ntorchvision.datasets.ImageNet({str(folder)!r}) unpacks archives that way; val/ alone "
        f"is enough to evaluate"
    )


@cache
def labels() -> Mapping[str, int]:
    """The standard index of each wnid: its place among the 1,000 in sorted order."""
    text = Path(__file__).with_name("imagenet_wnids.txt").read_text(encoding="ascii")
    return {wnid: index for index, wnid in enumerate(text.split())}


def _found(name: str, options: Options, root: Path) -> tuple[Path, list[Picture], list[Picture]]:
    """The data set's folder, its training pictures and its validation pictures."""
    halves = check_halves(name, root, wanted(name, options, root))
    meaning = "no wnid of ImageNet's 1,000 classes"
    train = find_pictures(name, halves["train/"], labels(), meaning) if "train/" in halves else []
    val = halves["val/"]
    test = find_pictures(name, val, labels(), meaning) if class_folders(val) else _flat(name, val)
    return options.folder(name, root), train, test


def _is_flat_picture(file: str) -> bool:
    return file.startswith(_FLAT) and file.lower().endswith(SUFFIXES)


def _flat(name: str, val: Path) -> list[Picture]:
    """Validation pictures as their archive has them, numbered in one folder."""
    files = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(val) if _is_flat_picture(entry.name))
    if not files:
        raise UsageError(f"{name}: {val} has neither folders by wnid nor pictures named {_FLAT}00000001.JPEG and so on")
    wnids = read_wnids(name, val.parent, at_least=len(files))
    found = []
    for file, size in files:
        number = file.removeprefix(_FLAT).partition(".")[0]
        if not number.isdecimal() or not 1 <= int(number) <= len(wnids):
            raise UsageError(f"{name}: {val / file} has no number from 1 to {len(wnids):,}; move it away")
        found.append(Picture(file, size, labels()[wnids[int(number) - 1]]))
    return found
