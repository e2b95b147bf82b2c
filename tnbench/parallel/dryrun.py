"""Dry run: one process counts what a rank of many would send in a step of another plug-in; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom
from tnbench.core.protocols import RankEntry, Shape
from tnbench.core.registry import Registry
from tnbench.distributed.collectives import Counted
from tnbench.distributed.fake import counted_step

VERSION = 1
IN_PROCESS = False
TRAINS = False
"""`launch` never calls an entry."""


@dataclass(frozen=True)
class Options:
    """`of`: the plug-in that is imitated, with its options at their defaults."""

    of: str = "ddp"


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted. They are not started, so that there may be more of them than cores and GPUs."""
    if count is None:
        return f"got dryrun without a count, wanted how many processes, such as dryrun[of={options.of}]:64"
    return None


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Raise NotApplicable: a single process knows nothing of the others' numbers, so that it cannot train for all."""
    raise NotApplicable(
        f"dryrun counts what {options.of}:{count} sends and trains nothing; take training none, or {options.of} itself"
    )


def dry_run(
    model: nn.Module,
    in_shape: Shape,
    batch: int,
    count: int,
    options: Options,
    plugin_files: Sequence[Path],
    rank: int = 0,
) -> Counted:
    """The collectives of one rank in one training step of `model` on a global `batch` of `in_shape` (C, H, W) pictures.

    Raises UsageError for a plug-in that does not spread its work over processes, NotApplicable with the reason where
    there are too many of them for the network or the batch.
    """
    imitated = Registry(plugin_files).bind("parallel", Atom(options.of, count=count))
    if not hasattr(imitated.module, "spread"):
        raise UsageError(
            f"parallel dryrun[of={options.of}]: {options.of} does not spread its work over processes; "
            f"wanted a plug-in that does, such as ddp or bottleneck_tp"
        )
    return counted_step(model, in_shape, batch, imitated.module, count, imitated.options, rank=rank)
