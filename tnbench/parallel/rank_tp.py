"""Model parallel along the rank: each process has some of the channels between the factors of a compressed layer.

The scheme of Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053) for two products in a row, applied to chains of
factors: the one is cut along its outputs, the other along its inputs, and their only meeting is one all-reduce of what
comes out. What enters and leaves a layer is whole on each process, so that all else in the network stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.placement import Shard
from tnbench.distributed.sharding.crew import sharded_crew
from tnbench.distributed.sharding.cut import cut_chains
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks

VERSION = 1
IN_PROCESS = False


@dataclass(frozen=True)
class Options:
    """`threads`: per rank; 0 shares the cores out evenly."""

    threads: int = 0

    def __post_init__(self) -> None:
        check_threads("rank_tp", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("rank_tp", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs."""
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` whose ranks of `group` share the layers and work on the same pictures.

    `wrap` raises NotApplicable where there is no layer to cut.
    """
    return sharded_crew(crew, group, partial(_shard, group=group, notes=crew.notes))


def _shard(model: nn.Module, *, group: Group, notes: list[str]) -> tuple[nn.Module, dict[str, Shard]]:
    return model, cut_chains(model, "rank", group, notes).shard()
