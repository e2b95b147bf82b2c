"""What every plug-in of several processes shares: which counts it refuses, and how its ranks are launched.

Such a plug-in is told by one function, `spread`: what it adds to a crew whose ranks are joined by a process group.
Plug-ins can so be put on top of one another, each with a group of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.launch import launch_ranks
from tnbench.measure.environment import usable_cores

Spread = Callable[[Crew, Group, Any], Crew]
"""``spread(crew, group, options)``: the crew with `wrap`, `share` and `gather` for work by the ranks of `group`.

A function of a module, since it travels to the ranks by name. `group` None stands for all ranks. What the earlier crew
does to a model is kept: model-parallel plug-ins come first (innermost), data-parallel ones last.
"""


MOST_ON_A_CORE = 4
"""Processes: more of them wait for each other and for memory, and tell nothing that fewer do not."""


class Threaded(Protocol):
    """Options with the number of threads per rank; 0 shares the cores out evenly."""

    @property
    def threads(self) -> int: ...


def refuses_ranks(name: str, count: int | None, device: str) -> str | None:
    """Why `count` ranks of the plug-in `name` cannot be had.

    Each wants a GPU of its own where the device is one; a core of the CPU has a few at most, to try things with.
    """
    if count is None:
        return f"got {name} without a count, wanted how many processes, such as {name}:2"
    named = torch.device(device)
    if named.type != "cuda":
        return _refuses_on_cores(name, count, usable_cores())
    first, there = named.index or 0, torch.cuda.device_count()
    if first + count <= there:
        return None
    return f"got {name}:{count} from cuda:{first} on, wanted at most the {max(0, there - first)} GPUs that are there"


def _refuses_on_cores(name: str, count: int, cores: int) -> str | None:
    most = MOST_ON_A_CORE * cores
    if count <= most:
        return None
    return (
        f"got {name}:{count} with {cores} usable cores, wanted at most {most} processes, since more wait for "
        f"each other; for words at any number of them take a dry run, such as dryrun[of=ddp]:{count}"
    )


def check_threads(name: str, threads: int) -> None:
    """Raise UsageError where the option `threads` of the plug-in `name` is no count."""
    if threads < 0:
        raise UsageError(f"parallel {name}: got threads = {threads}, wanted a whole number from 0 on")


def launch_spread(
    entry: RankEntry, spread: Spread, count: int | None, options: Threaded, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes whose crews `spread` completes; what each returned, rank 0 first.

    gloo joins them on the CPU, NCCL on GPUs. Each has ``options.threads`` threads, or an even share of the cores.
    """
    assert count is not None, "`refuses` was not asked"
    return launch_ranks(
        partial(_spread_over_all, entry=entry, spread=spread, options=options),
        count,
        threads=options.threads or max(1, usable_cores() // count),
        device=device,
        plugin_files=plugin_files,
        backend="nccl" if torch.device(device).type == "cuda" else "gloo",
    )


def _spread_over_all(crew: Crew, *, entry: RankEntry, spread: Spread, options: Threaded) -> Any:
    return entry(spread(crew, None, options))
