"""Data parallel with sharded weights: each process keeps a part of every tensor and fetches blocks as they are needed.

torch's `fully_shard` (FSDP, Zhao et al. 2023): the tensors of a block are cut along their first side, gathered before
the block's forward and again before its backward pass, and the gradients are reduced to the part of each rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.fully_sharded import gathered, shard
from tnbench.distributed.share import shared_out
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks
from tnbench.distributed.sync_batchnorm import has_batch_norm, synchronise_batch_norm

VERSION = 1
IN_PROCESS = False
ALONE = "it keeps every weight in parts of its own, which no other plug-in can cut or average"
"""Why it takes no part in a mesh."""

BATCH_NORM_NOTE = (
    "each rank normalises its own share of the batch in BatchNorm, as torch's fully_shard does; "
    "the running statistics are those of rank 0"
)


@dataclass(frozen=True)
class Options:
    """`threads`: per rank; 0 shares the cores out evenly. `bn=sync`: BatchNorm's statistics over the whole batch."""

    threads: int = 0
    bn: Literal["local", "sync"] = "local"

    def __post_init__(self) -> None:
        check_threads("fsdp", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("fsdp", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs."""
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` with its batch shared out over `group`, whose ranks have a part of each tensor."""
    shard(nn.Linear(1, 1).to(crew.device), group, crew.device)  # its imports are not to be charged to an entry
    return dataclasses.replace(
        crew,
        wrap=partial(_wrap, crew=crew, group=group, options=options),
        share=shared_out(crew, group),
        gather=gathered,
    )


def _wrap(model: nn.Module, *, crew: Crew, group: Group, options: Options) -> nn.Module:
    if options.bn == "sync":
        synchronise_batch_norm(model, group)
    elif has_batch_norm(model):
        crew.notes.append(BATCH_NORM_NOTE)
    wrapped = crew.wrap(model)
    shard(wrapped, group, crew.device)
    return wrapped
