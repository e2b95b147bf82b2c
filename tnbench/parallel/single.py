"""One process, with the threads that torch takes by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tnbench.core.protocols import RankEntry
from tnbench.distributed.crew import alone

VERSION = 1
IN_PROCESS = True


def refuses(count: int | None, options: Any, device: str) -> str | None:
    """A count has no meaning here."""
    if count is None:
        return None
    return f"got single:{count}, but single is one process; wanted single, threads:{count} or ddp:{count}"


def launch(entry: RankEntry, count: int | None, options: Any, device: str, plugin_files: Sequence[Path]) -> list[Any]:
    """Call `entry` in this process; its errors come through as they are."""
    return [entry(alone(device))]
