"""What a device's name means on this machine."""

from __future__ import annotations

import os
import re
import shutil

from tnbench.core.errors import UsageError, nearest

_KINDS = ("auto", "cpu", "cuda")
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where the drivers of NVIDIA and AMD, and WSL's, show on Linux."""


def resolve_device(text: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1``; ``auto`` is ``cuda`` where there is a GPU.

    torch is imported only where a driver shows. Raises UsageError for a device that is unknown or not there.
    """
    if text == "cpu":
        return text
    match = re.fullmatch(r"cuda(?::([0-9]+))?", text)
    if match is None and text != "auto":
        best = nearest(text, _KINDS)
        hint = f"; the nearest is {best!r}" if best else ""
        raise UsageError(f"device: got {text!r}, wanted auto, cpu, cuda or cuda:N{hint}")
    gpus = _gpus()
    if match is None:
        return "cuda" if gpus else "cpu"
    if int(match[1] or 0) >= gpus:
        there = ", ".join(["cpu", *(f"cuda:{index}" for index in range(gpus))])
        raise UsageError(f"device: got {text!r}, this machine has {there}; choose one of them, or auto")
    return text


def _gpus() -> int:
    if not any(map(os.path.exists, _DRIVERS)) and shutil.which("nvidia-smi") is None:
        return 0  # answered without torch, whose import takes seconds
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
