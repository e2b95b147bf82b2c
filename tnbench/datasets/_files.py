"""Files of a data set under the data root: looked for, held against the originals, and told about when not there."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.protocols import Wanted


class Original(NamedTuple):
    """A file as its authors published it, without compression: its size in bytes and its MD5."""

    size: int
    md5: str


def look_for(folder: Path, names: Sequence[str], *, gzipped: bool = False) -> list[Wanted]:
    """Each of `names` in `folder`; with `gzipped`, as ``name`` or ``name.gz``."""
    choices = [(name, (folder / name, folder / f"{name}.gz") if gzipped else (folder / name,)) for name in names]
    return [Wanted(name, paths, next(filter(Path.is_file, paths), None)) for name, paths in choices]


def check(dataset: str, root: Path, wanted: Sequence[Wanted], originals: Mapping[str, Original]) -> dict[str, Path]:
    """The path of every file wanted, by name, once each is there and equal to its original.

    Raises UsageError that names every absent file, or the first damaged one, and the command that fetches them.
    """
    absent = [file for file in wanted if file.found is None]
    if absent:
        lines = "\n".join("  " + " or ".join(map(str, file.paths)) for file in absent)
        raise UsageError(
            f"{dataset}: {len(absent)} of {len(wanted)} files are not under the data root {root}; wanted\n{lines}\n"
            f"point --data-root or TNBENCH_DATA to where they are, or fetch them: {_fetch_command(dataset, root)}"
        )
    found = {file.name: file.found for file in wanted if file.found is not None}
    for name, path in found.items():
        reason = _damage(path, originals[name])
        if reason:
            raise UsageError(
                f"{dataset}: {path} is truncated or damaged ({reason}); "
                f"remove it and fetch it again: {_fetch_command(dataset, root)}"
            )
    return found


def open_plain(path: Path) -> BufferedIOBase:
    """The file's content for reading, unpacked on the way where its name ends in ``.gz``."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def download(dataset: str, root: Path, source: str, call: Callable[[], object]) -> None:
    """Run `call`, which downloads into `root`. Raises TnbenchError that says what failed and what to do by hand."""
    try:
        call()
    except (OSError, RuntimeError) as error:
        raise TnbenchError(
            f"{dataset} could not be fetched into {root}: {str(error).strip()}\n"
            f"where there is a network, download {source} by hand; "
            f"`tnbench data status --data-root {root}` lists the files wanted and where they go"
        ) from error


def _fetch_command(dataset: str, root: Path) -> str:
    return f"tnbench data fetch {dataset} --data-root {root}"


def _damage(path: Path, original: Original) -> str:
    """What differs from the original; empty where nothing does."""
    try:
        with open_plain(path) as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            size = file.tell()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"unpacking it fails: {error}"
    except OSError as error:
        return f"reading it fails: {error.strerror}"
    if size != original.size:
        return f"got {size:,} bytes, wanted {original.size:,}"
    return f"got MD5 {md5}, wanted {original.md5}" if md5 != original.md5 else ""
