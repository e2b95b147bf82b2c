"""What ``--device`` means on this machine."""

from __future__ import annotations

import re

from tnbench.core.errors import UsageError, nearest

_KINDS = ("auto", "cpu", "cuda")
_CUDA = re.compile(r"cuda(?::(?P<index>[0-9]+))?")


def resolve_device(text: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1``; ``auto`` is cuda where there is one. ``cpu`` is answered without torch.

    Raises UsageError for an unknown device and for one that this machine lacks.
    """
    if text == "cpu":
        return text
    match = _CUDA.fullmatch(text)
    if match is None and text != "auto":
        best = nearest(text, _KINDS)
        hint = f"; the nearest is {best!r}" if best else ""
        raise UsageError(f"--device: got {text!r}, wanted auto, cpu, cuda or cuda:N{hint}")
    there = _cuda_devices()
    if match is None:
        return "cuda" if there else "cpu"
    if int(match["index"] or 0) >= there:
        have = ", ".join(f"cuda:{index}" for index in range(there)) or "no CUDA device"
        raise UsageError(f"--device: got {text!r}, this machine has {have}; use --device auto or cpu")
    return text


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
