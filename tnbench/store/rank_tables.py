"""Rank tables: explicit ranks per layer name, one TOML file each, in the folder `ranks` of the results.

"layer1.0.conv1" = [8, 8]
"layer1.0.conv2" = [6, 9]
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tnbench.core.errors import UsageError, unknown
from tnbench.core.protocols import Ranks

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def table_path(results: Path, name: str) -> Path:
    """Where the table called `name` is looked for. Raises UsageError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"rank table: got the name {name!r}, wanted letters, digits, dots, dashes and underscores")
    return results / "ranks" / f"{name}.toml"


def read_table(results: Path, name: str) -> dict[str, Ranks]:
    """Layer name -> ranks. Raises UsageError for a table that is not there or that holds anything else."""
    path = table_path(results, name)
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.toml"))
        what = unknown("rank table", name, there) if there else f"there is no rank table {name!r}, nor any other"
        raise UsageError(
            f"{what}; wanted the file {path}, which 'tnbench export ranks --case ID --table {name}' writes from a "
            f"case's record"
        )
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"rank table {path}: {error}; mend the file") from None
    return {layer: _ranks(path, layer, value) for layer, value in read.items()}


def write_table(results: Path, name: str, ranks: Mapping[str, Ranks]) -> Path:
    """Write a table and return its path. Raises UsageError where another table of that name is there."""
    path = table_path(results, name)
    text = "".join(f'"{layer}" = {list(own)}\n' for layer, own in ranks.items())
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(
            f"rank table {name!r}: {path} holds other ranks; take another name, or remove the file if no record "
            f"should stand for it any longer"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def table_digest(results: Path, *names: str) -> str | None:
    """16 hex digits of the file's SHA-256; None where there is none, or more or less than one name."""
    if len(names) != 1:
        return None
    path = table_path(results, *names)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None


def _ranks(path: Path, layer: str, value: object) -> Ranks:
    if isinstance(value, list) and value and all(type(rank) is int and rank >= 1 for rank in value):
        return tuple(value)
    raise UsageError(f"rank table {path}: got {value!r} for {layer!r}, wanted a list of whole numbers from 1 up")
