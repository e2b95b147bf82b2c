"""Data parallel: every process has the whole network and a share of each batch (DistributedDataParallel)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState
from torch.nn.parallel import DistributedDataParallel

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.averaging import average, count_buffers, power_sgd
from tnbench.distributed.collectives import Group
from tnbench.distributed.share import shared_out
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks
from tnbench.distributed.sync_batchnorm import has_batch_norm, synchronise_batch_norm

VERSION = 1
IN_PROCESS = False
SHARES_BATCH = True
"""Beside a plug-in that shares the network it makes a mesh, such as ``ddp:2*rank_tp:2``."""

BATCH_NORM_NOTE = (
    "each rank normalises its own share of the batch in BatchNorm, as torch's DistributedDataParallel does; "
    "the running statistics are those of rank 0"
)
POWER_SGD_NOTE = (
    "gradients are compressed to rank {rank} by PowerSGD with error feedback from the third step on, so that the "
    "training is not that of a single process"
)
"""What a record says of ``compress=powersgd``."""


@dataclass(frozen=True)
class Options:
    """`bucket_mb`: MiB of gradients per all-reduce. `threads`: per rank; 0 shares the cores out evenly.

    `compress=powersgd` sends two factors of rank `powersgd_rank` in place of each gradient. `zero=true` spreads the
    optimiser's state over the ranks. `bn=sync` takes BatchNorm's statistics over the whole batch.
    """

    bucket_mb: float = 25.0
    threads: int = 0
    compress: Literal["none", "powersgd"] = "none"
    powersgd_rank: int = 1
    zero: bool = False
    bn: Literal["local", "sync"] = "local"

    def __post_init__(self) -> None:
        if not self.bucket_mb > 0:
            raise UsageError(f"parallel ddp: got bucket_mb = {self.bucket_mb:g}, wanted MiB above 0")
        if self.powersgd_rank < 1:
            raise UsageError(f"parallel ddp: got powersgd_rank = {self.powersgd_rank}, wanted a whole number from 1 on")
        if self.compress == "none" and self.powersgd_rank != Options.powersgd_rank:
            raise UsageError(
                f"parallel ddp: got powersgd_rank = {self.powersgd_rank} without compression; add compress=powersgd"
            )
        check_threads("ddp", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("ddp", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs.

    The crew's `wrap` averages gradients over the ranks. As torch does by default, rank 0 sends its running statistics
    to the others at each step: they do not enter training, and the trained network has rank 0's.
    """
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` with its batch shared out over `group`, whose ranks average their gradients."""
    # The first wrapping imports torch's compiler (150 MB) and connects the ranks; no entry is to be charged for it.
    DistributedDataParallel(nn.Linear(1, 1).to(crew.device), process_group=group)
    found = dataclasses.replace(
        crew,
        wrap=partial(_wrap, crew=crew, group=group, options=options),
        share=shared_out(crew, group),
    )
    return _with_zero(found, group) if options.zero else found


def _with_zero(crew: Crew, group: Group) -> Crew:
    """Each rank has the optimiser's state of some parameters only, which is also why no checkpoint is kept."""
    from tnbench.distributed import zero  # its imports take long, and other options do without

    return dataclasses.replace(crew, optimiser=zero.sharding(group))


def _wrap(model: nn.Module, *, crew: Crew, group: Group, options: Options) -> nn.Module:
    if options.bn == "sync":
        synchronise_batch_norm(model, group)
    elif has_batch_norm(model):
        crew.notes.append(BATCH_NORM_NOTE)
    wrapped = DistributedDataParallel(crew.wrap(model), bucket_cap_mb=options.bucket_mb, process_group=group)
    if options.bn == "sync":
        wrapped.broadcast_buffers = False  # they are the same on all ranks already
    else:
        count_buffers(wrapped, group)
    if options.compress == "powersgd":
        crew.notes.append(POWER_SGD_NOTE.format(rank=options.powersgd_rank))
        state = PowerSGDState(group, matrix_approximation_rank=options.powersgd_rank, start_powerSGD_iter=2)
        wrapped.register_comm_hook(state, power_sgd)
    else:
        wrapped.register_comm_hook(group, average)
    return wrapped
