"""Data parallel: every process has the whole network and a share of each batch (DistributedDataParallel)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.launch import launch_ranks
from tnbench.measure.environment import usable_cores

VERSION = 1
IN_PROCESS = False

BATCH_NORM_NOTE = (
    "each rank normalises its own share of the batch in BatchNorm, as torch's DistributedDataParallel does; "
    "the running statistics are those of rank 0"
)


@dataclass(frozen=True)
class Options:
    """`bucket_mb`: MiB of gradients per all-reduce. `threads`: per rank; 0 shares the cores out evenly."""

    bucket_mb: float = 25.0
    threads: int = 0

    def __post_init__(self) -> None:
        if not self.bucket_mb > 0:
            raise UsageError(f"parallel ddp: got bucket_mb = {self.bucket_mb:g}, wanted MiB above 0")
        if self.threads < 0:
            raise UsageError(f"parallel ddp: got threads = {self.threads}, wanted a whole number from 0 on")


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    if count is None:
        return "got ddp without a count, wanted how many processes, such as ddp:2"
    named = torch.device(device)
    if named.type != "cuda":
        return None
    first, there = named.index or 0, torch.cuda.device_count()
    if first + count <= there:
        return None
    return f"got ddp:{count} from cuda:{first} on, wanted at most the {max(0, there - first)} GPUs that are there"


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs.

    The crew's `wrap` averages gradients over the ranks. As torch does by default, rank 0 sends its running statistics
    to the others at each step: they do not enter training, and the trained network has rank 0's.
    """
    assert count is not None, "`refuses` was not asked"
    return launch_ranks(
        partial(_with_ddp, entry=entry, bucket_mb=options.bucket_mb),
        count,
        threads=options.threads or max(1, usable_cores() // count),
        device=device,
        plugin_files=plugin_files,
        backend="nccl" if device.startswith("cuda") else "gloo",
    )


def _with_ddp(crew: Crew, *, entry: RankEntry, bucket_mb: float) -> Any:
    # The first wrapping imports torch's compiler (150 MB) and connects the ranks; no entry is to be charged for it.
    DistributedDataParallel(nn.Linear(1, 1).to(crew.device))
    return entry(dataclasses.replace(crew, wrap=partial(_wrap, crew=crew, bucket_mb=bucket_mb)))


def _wrap(model: nn.Module, *, crew: Crew, bucket_mb: float) -> nn.Module:
    if any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for module in model.modules()):
        crew.notes.append(BATCH_NORM_NOTE)
    return DistributedDataParallel(model, bucket_cap_mb=bucket_mb)
