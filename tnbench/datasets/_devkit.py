"""The labels of ImageNet's validation pictures in one flat folder, from the development kit of ILSVRC 2012."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tnbench.core.errors import UsageError

ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
_FOLDER = "ILSVRC2012_devkit_t12/data"
_TRUTH, _SYNSETS = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


def read_wnids(dataset: str, folder: Path, *, at_least: int = 0) -> list[str]:
    """The wnid of each of the validation pictures in the order of their numbers, one line of the kit for each.

    The kit is looked for in `folder`, packed as its authors published it or unpacked. Raises UsageError where it is
    not there or is damaged.
    """
    kit = _read(dataset, folder)
    try:
        wnids = _wnids_by_number(kit[_SYNSETS])
    except Exception as error:  # what a damaged file makes scipy's reader raise has no common type
        raise UsageError(
            f"{dataset}: {_SYNSETS} of the development kit in {folder} is damaged ({type(error).__name__}: {error}); "
            f"fetch {ARCHIVE} again"
        ) from None
    lines = kit[_TRUTH].split()
    if len(lines) < at_least:
        raise UsageError(
            f"{dataset}: {_TRUTH} in {folder} has {len(lines):,} lines, wanted one for each of the {at_least:,} "
            f"validation pictures; fetch {ARCHIVE} again"
        )
    try:
        return [wnids[int(line)] for line in lines]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{dataset}: {_TRUTH} in {folder} has the line {error}, wanted a class number") from None


def _read(dataset: str, folder: Path) -> Mapping[str, bytes]:
    names = (_TRUTH, _SYNSETS)
    try:
        if (folder / _FOLDER).is_dir():
            return {name: (folder / _FOLDER / name).read_bytes() for name in names}
        with tarfile.open(folder / ARCHIVE) as archive:
            return {name: _member(archive, f"{_FOLDER}/{name}") for name in names}
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise UsageError(
            f"{dataset}: the labels of validation pictures in one flat folder come from {folder / ARCHIVE}, which "
            f"cannot be read ({error}); put it there, or move the pictures into folders by wnid"
        ) from None


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _wnids_by_number(synsets: bytes) -> dict[int, str]:
    """The wnid of each of the kit's own class numbers, which are not the standard indices; leaves only."""
    from scipy.io import loadmat

    table = loadmat(io.BytesIO(synsets), squeeze_me=True)["synsets"]
    rows = zip(table["ILSVRC2012_ID"], table["WNID"], table["num_children"], strict=True)
    return {int(number): str(wnid) for number, wnid, children in rows if int(children) == 0}
