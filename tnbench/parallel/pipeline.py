"""Pipeline: every process has some consecutive layers, and micro-batches go through them (GPipe, Huang et al. 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.pipeline.gpipe import Pipelined, collected
from tnbench.distributed.pipeline.split import Split
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks
from tnbench.distributed.sync_batchnorm import has_batch_norm

VERSION = 1
IN_PROCESS = False
ALONE = "its micro-batches reach each weight several times in a step, before which no other plug-in may average"
"""Why it takes no part in a mesh."""

BATCH_NORM_NOTE = (
    "each of {microbatches} micro-batches is normalised by itself in BatchNorm, and moves the running statistics once"
)
DROPOUT_NOTE = "layers that draw at random draw for each micro-batch, and so otherwise than a single process"


@dataclass(frozen=True)
class Options:
    """`microbatches`: into how many a batch is cut. `threads`: per rank; 0 shares the cores out evenly."""

    microbatches: int = 4
    threads: int = 0

    def __post_init__(self) -> None:
        if self.microbatches < 1:
            raise UsageError(
                f"parallel pipeline: got microbatches = {self.microbatches}, wanted a whole number from 1 on"
            )
        check_threads("pipeline", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("pipeline", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs."""
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` with a stage of the network on each rank of `group`, all of which work on the whole batch."""
    stages = _Stages(crew, group, options)
    return dataclasses.replace(crew, wrap=stages.wrap, share=(0, 1), gather=stages.gather)


class _Stages:
    """What a crew wraps and gathers, and which split belongs to which model."""

    def __init__(self, crew: Crew, group: Group, options: Options) -> None:
        self._crew, self._group, self._options = crew, group, options
        self._made: WeakKeyDictionary[nn.Module, list[Split]] = WeakKeyDictionary()

    def wrap(self, model: nn.Module) -> nn.Module:
        if self._options.microbatches > 1 and has_batch_norm(model):
            self._crew.notes.append(BATCH_NORM_NOTE.format(microbatches=self._options.microbatches))
        if any(isinstance(layer, _DropoutNd) and layer.p for layer in model.modules()):
            self._crew.notes.append(DROPOUT_NOTE)
        self._made[model] = []
        return Pipelined(model, self._group, self._options.microbatches, self._made[model])

    def gather(self, model: nn.Module) -> dict[str, Tensor]:
        made = self._made.get(model)
        if not made:  # no batch has gone through yet: the network is whole on each rank
            return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
        return collected(model, made[0], self._group, self._crew.device)
