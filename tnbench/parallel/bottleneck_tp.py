"""Model parallel across the bottleneck: each process has some of the channels between compressed layers.

The first factor of a layer sums over the processes in the few channels of its rank, the cores work on those whole, and
the last factor gives each process its channels of the output, where BatchNorm, activations, pooling and residual sums
go on without a word. So R channels are sent per layer and not C. Rows and columns of weights are cut as in Megatron-LM
(Shoeybi et al. 2019, arXiv:1909.08053), in the other order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.placement import Shard
from tnbench.distributed.sharding.channels import shard_channels
from tnbench.distributed.sharding.crew import sharded_crew
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks

VERSION = 1
IN_PROCESS = False


@dataclass(frozen=True)
class Options:
    """`threads`: per rank; 0 shares the cores out evenly.

    `core=split` shares dense cores too, for an all-gather and an all-reduce more; `whole` computes them on each rank.
    """

    core: Literal["whole", "split"] = "whole"
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads("bottleneck_tp", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("bottleneck_tp", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs."""
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` whose ranks of `group` share the channels and work on the same pictures.

    `wrap` raises NotApplicable where there is no layer to cut, or no graph of the network.
    """
    return sharded_crew(crew, group, partial(_shard, group=group, options=options, notes=crew.notes))


def _shard(model: nn.Module, *, group: Group, options: Options, notes: list[str]) -> tuple[nn.Module, dict[str, Shard]]:
    return shard_channels(model, "bottleneck_split" if options.core == "split" else "bottleneck", group, notes)
