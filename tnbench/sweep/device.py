"""What a device's name means on this machine."""

from __future__ import annotations

import re

from tnbench.core.errors import UsageError, nearest

_KINDS = ("auto", "cpu", "cuda")


def resolve_device(text: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1``; ``auto`` is ``cuda`` where there is a GPU. ``cpu`` is answered without torch.

    Raises UsageError for an unknown device and for one that this machine lacks.
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
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
