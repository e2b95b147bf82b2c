"""Checkpoints: safetensors files named by the SHA-256 of their content, beside the records."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tnbench.core.errors import TnbenchError

if TYPE_CHECKING:
    from torch import Tensor


def checkpoint_path(results: Path, digest: str) -> Path:
    """Where the checkpoint with this digest lies, whether it is there or not."""
    return Path(results) / "checkpoints" / f"{digest}.safetensors"


def save_state(results: Path, state: dict[str, Tensor]) -> str:
    """Write the tensors of `state` durably and give the digest of the file. Equal tensors give an equal digest.

    The file appears under its name only when it is whole, so a reader never meets half of one.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})
    digest = hashlib.sha256(content).hexdigest()
    path = checkpoint_path(results, digest)
    if not path.is_file() or path.read_bytes() != content:
        _write(path, content)
    return digest


def load_state(results: Path, digest: str) -> dict[str, Tensor]:
    """The tensors that `save_state` wrote. Raises TnbenchError when the file is absent or its bytes changed."""
    from safetensors.torch import load

    path = checkpoint_path(results, digest)
    mend = "run again, which trains the baseline anew, or import its file again"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TnbenchError(f"checkpoint: cannot read {path}: {error.strerror}; {mend}") from None
    got = hashlib.sha256(content).hexdigest()
    if got != digest:
        raise TnbenchError(f"checkpoint: {path} has SHA-256 {got}, wanted the one in its name; delete it and {mend}")
    return load(content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
