"""One process with a stated number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tnbench.core.protocols import RankEntry
from tnbench.distributed.crew import alone

VERSION = 2  # decompositions keep to the stated threads too
IN_PROCESS = True


def refuses(count: int | None, options: Any, device: str) -> str | None:
    """Threads are counted, and of the CPU."""
    if count is None:
        return "got threads without a count, wanted how many, such as threads:2"
    if device.startswith("cuda"):
        return f"got threads:{count} on {device}, where the CPU's threads do not share the work; wanted single or ddp"
    return None


def launch(entry: RankEntry, count: int | None, options: Any, device: str, plugin_files: Sequence[Path]) -> list[Any]:
    """Call `entry` in this process with `count` threads; afterwards there are as many as before."""
    assert count is not None, "`refuses` was not asked"
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return [entry(alone(device))]
    finally:
        torch.set_num_threads(before)
