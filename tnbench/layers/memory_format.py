"""The memory format of pictures: what comes in channels-last memory goes out in it."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def like_input(out: Tensor, inp: Tensor) -> Tensor:
    """`out` in channels-last memory if `inp` is in it, else as it is. Both are (N, C, *sides)."""
    last = _CHANNELS_LAST.get(inp.dim())
    # A single channel is contiguous in both formats; its stride tells which one is meant, as it tells torch.
    if last is None or inp.stride(1) != 1 or not inp.is_contiguous(memory_format=last):
        return out
    return out.contiguous(memory_format=last)
