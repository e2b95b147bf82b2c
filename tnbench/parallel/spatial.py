"""Model parallel along the height of the images: each process has some of the rows of every image.

A convolution needs rows of its neighbours as far as its kernel reaches, the halo (Dryden, Maruyama, Benson, Moon, Snir
and Van Essen 2019, arXiv:1903.06681). In a compressed layer only the k×k factor has one, over the few channels of its
rank; 1×1 factors exchange nothing. Dense convolutions are shared too, with halos of all their channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import Group
from tnbench.distributed.sharding.images import share_rows
from tnbench.distributed.spread import check_threads, launch_spread, refuses_ranks

VERSION = 1
IN_PROCESS = False


@dataclass(frozen=True)
class Options:
    """`threads`: per rank; 0 shares the cores out evenly."""

    threads: int = 0

    def __post_init__(self) -> None:
        check_threads("spatial", self.threads)


def refuses(count: int | None, options: Options, device: str) -> str | None:
    """Processes are counted, and each wants a GPU of its own where the device is one."""
    return refuses_ranks("spatial", count, device)


def launch(
    entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
) -> list[Any]:
    """Call `entry` in `count` new processes: gloo joins them on the CPU, NCCL on GPUs."""
    return launch_spread(entry, spread, count, options, device, plugin_files)


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` whose ranks of `group` share the rows of the same pictures; parameters are whole on each.

    `wrap` raises NotApplicable where there is no graph of the network, and the first forward pass where the pictures
    have too few rows.
    """
    return dataclasses.replace(crew, wrap=partial(_wrap, crew=crew, group=group), share=crew.share or (0, 1))


def _wrap(model: nn.Module, *, crew: Crew, group: Group) -> nn.Module:
    return crew.wrap(share_rows(model, group, crew.notes))
