"""The file from which a killed training goes on: whole or not there, and nothing else than what was written."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_DIGEST = 64
"""Characters of a SHA-256 in hexadecimal, which end the file."""


@dataclass(frozen=True)
class Checkpoint:
    """Where the checkpoint of one fit lies, and the digest of all that the fit begins with and depends on.

    It is written after an epoch that ends `every_s` seconds or more after the last one was. Without `resumes`, one that
    is there already is left aside.
    """

    file: Path
    start: str
    every_s: float = 0.0
    resumes: bool = True


def write(checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
    """Put `state` (tensors and plain values) in the place of an earlier one, durably. Raises OSError."""
    file = checkpoint.file
    part = file.with_suffix(f".{os.getpid()}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w+b") as stream:
            _save({**state, "start": checkpoint.start}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(checkpoint: Checkpoint) -> tuple[dict[str, Any] | None, str]:
    """What `write` wrote, tensors on the CPU; or None, and why the file that is there does not do."""
    if not checkpoint.resumes or not checkpoint.file.is_file():
        return None, ""
    ignored = f"the checkpoint {checkpoint.file.name} was ignored and the training begun anew"
    try:
        content = checkpoint.file.read_bytes()
    except OSError as error:
        return None, f"{ignored}: it cannot be read ({error.strerror})"
    payload, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        return None, f"{ignored}: its bytes are not those that were written"
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if state["start"] != checkpoint.start:
        return None, f"{ignored}: it began from other weights, or under another torch or version of a plug-in"
    return state, ""


def _save(state: Mapping[str, Any], stream: io.BufferedRandom) -> None:
    try:
        torch.save(state, stream)
    except RuntimeError as error:  # as torch says that the disk is full
        raise OSError(None, str(error).partition("\n")[0]) from error
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0, os.SEEK_END)
    stream.write(digest.encode())
