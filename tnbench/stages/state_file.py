"""Read somebody's checkpoint: the state dict in whatever it is wrapped in, and never any code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tnbench.core.errors import UsageError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIX = re.compile(r"^(?:(?:module|_orig_mod)\.)+")
"""What DataParallel, DistributedDataParallel and torch.compile put before names."""

_CODE = re.compile(r"Unsupported global: GLOBAL (\S+)")


def read_state(file: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors or PyTorch file, without ``module.`` or ``_orig_mod.`` before names.

    PyTorch files are read with ``weights_only=True``. Raises UsageError saying what the file is instead.
    """
    if not file.is_file():
        raise UsageError(f"checkpoint: no file {file}; give the path of a .safetensors, .pt, .pth or .th file")
    try:
        loaded = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # what a file that is no checkpoint makes the readers raise has no common type
        raise UsageError(_why_unreadable(file, error)) from None
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(f"checkpoint {file}: got {_kind(loaded)}, wanted a mapping of names to tensors")
    return {_PREFIX.sub("", str(name)): value for name, value in loaded.items()}


def _why_unreadable(file: Path, error: Exception) -> str:
    if code := _CODE.search(str(error)):
        return (
            f"checkpoint {file} cannot be read as weights: it holds more than tensors ({code[1]}), such as a whole "
            f"pickled network, and reading that would run its code; where you trust it, load it and save "
            f"model.state_dict() alone"
        )
    return (
        f"checkpoint {file} cannot be read as weights ({type(error).__name__}); wanted a state dict, saved by "
        f"torch.save(model.state_dict(), FILE) or as safetensors"
    )


def _kind(loaded: Any) -> str:
    return f"a mapping with the keys {list(loaded)[:3]}" if isinstance(loaded, Mapping) else type(loaded).__name__
