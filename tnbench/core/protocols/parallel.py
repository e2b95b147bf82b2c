"""What a parallel plug-in provides, and what each of its processes is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Crew:
    """The processes that share one piece of work, as seen by one of them.

    `wrap` prepares a model for training by all of them (DistributedDataParallel, say); `barrier` waits for all.
    `notes` are sentences for the record; `wrap` adds what only the model tells.
    """

    rank: int
    world: int
    device: torch.device
    threads: int
    wrap: Callable[[nn.Module], nn.Module]
    barrier: Callable[[], None]
    notes: list[str] = field(default_factory=list)


RankEntry = Callable[[Crew], Any]
"""What every rank runs: picklable, called with the rank's crew, its return value is sent back (picklable too)."""


class Parallel(Protocol):
    """How one case is spread over processes.

    `IN_PROCESS` says that `launch` calls the entry here, in one process; the forward pass is then timed the same way.
    """

    VERSION: int
    IN_PROCESS: bool

    def refuses(self, count: int | None, options: Any, device: str) -> str | None:
        """Why `count` processes or threads cannot be had on `device`; None if they can."""

    def launch(
        self, entry: RankEntry, count: int | None, options: Any, device: str, plugin_files: Sequence[Path]
    ) -> list[Any]:
        """Run `entry` on every rank and return what each gave, rank 0 first.

        Raises RankDied when a rank ends by itself; no process is left behind, whatever happens.
        """
