"""Several parallel plug-ins on top of one another, each over its own groups of ranks: ``ddp:2*bottleneck_tp:2``.

The first plug-in is outermost. In the order of ranks its groups are far apart, and those of the last one, which sends
most often, are neighbours. All ranks are on one node, as `tnbench.distributed.launch` starts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tnbench.core.errors import UsageError
from tnbench.core.grammar import format_part
from tnbench.core.protocols import Crew, RankEntry
from tnbench.core.registry import Bound
from tnbench.distributed.collectives import Group, rank_in, size
from tnbench.distributed.grid import subgroup
from tnbench.distributed.spread import Spread, launch_spread, refuses_ranks


@dataclass(frozen=True)
class Axis:
    """What one plug-in adds over groups of `count` ranks."""

    spread: Spread | None
    count: int
    options: Any


@dataclass(frozen=True)
class Options:
    """Of the mesh as a whole: `threads` per rank, and its axes, the outermost first."""

    threads: int
    axes: tuple[Axis, ...]


class Mesh:
    """A parallel plug-in made of others. Whoever binds it calls `refuses` before `launch`."""

    IN_PROCESS = False

    def __init__(self, parts: Sequence[Bound]) -> None:
        self._parts = tuple(parts)
        self.VERSION = sum(part.listing.version for part in parts)
        self.name = format_part("parallel", [part.atom for part in parts])

    @property
    def count(self) -> int:
        """How many processes there are: the product of the parts' counts."""
        return math.prod(part.atom.count or 1 for part in self._parts)

    def refuses(self, count: int | None, options: Any, device: str) -> str | None:
        """Why a part has no place in a mesh, cannot be had alone, or all together need more GPUs than there are."""
        reasons = (self._refuses_part(part, device) for part in self._parts)
        reason = next(filter(None, reasons), None) or self._refuses_mixture()
        if reason is not None:
            return reason
        threads = {_threads(part) for part in self._parts} - {0}
        if len(threads) > 1:
            return f"got {self.name} with {' and '.join(map(str, sorted(threads)))} threads, wanted one number for all"
        reason = refuses_ranks(self.name, count, device)
        return reason and reason.replace(f"{self.name}:{count}", self.name)

    def spread(self, crew: Crew, group: Group, options: Options) -> Crew:
        """As the function of this module."""
        return spread(crew, group, options)

    def launch(
        self, entry: RankEntry, count: int | None, options: Options, device: str, plugin_files: Sequence[Path]
    ) -> list[Any]:
        """Call `entry` in as many new processes as the product of the counts says."""
        return launch_spread(entry, spread, count, options, device, plugin_files)

    def _refuses_part(self, part: Bound, device: str) -> str | None:
        name = part.atom.name
        if not hasattr(part.module, "spread"):
            return (
                f"got {name} in the mesh {self.name}, where every part spreads its work over processes; "
                f"wanted parts such as ddp:2 and rank_tp:2"
            )
        if hasattr(part.module, "ALONE"):
            return f"got {name} in the mesh {self.name}: {part.module.ALONE}; name it alone"
        reason: str | None = part.module.refuses(part.atom.count, part.options, device)
        return reason

    def _refuses_mixture(self) -> str | None:
        """Averaging within averaging, and layers that are cut twice, are served by nobody."""
        sharing = [part.atom.name for part in self._parts if getattr(part.module, "SHARES_BATCH", False)]
        if len(sharing) == 1 and len(self._parts) == 2:
            return None
        return (
            f"got the mesh {self.name} of {len(self._parts)} parts, of which {len(sharing)} share out the batch; "
            f"wanted one that does and one that shares the network, such as ddp:2*rank_tp:2"
        )


def spread(crew: Crew, group: Group, options: Options) -> Crew:
    """`crew` with the parts of a mesh over `group`, the innermost first."""
    counts = [axis.count for axis in options.axes]
    if math.prod(counts) != size(group):
        raise UsageError(f"mesh: got the counts {counts} for {size(group)} ranks, wanted that as their product")
    for axis, own in reversed(list(zip(options.axes, subgroups(counts, group), strict=True))):
        assert axis.spread is not None, "`refuses` was not asked"
        crew = axis.spread(crew, own, axis.options)
    return crew


def subgroups(counts: Sequence[int], group: Group = None) -> list[Group]:
    """This rank's group along each axis of a mesh of `counts` ranks; the ranks of each group call it alike.

    Ranks are numbered with the last axis running fastest: in a 2 x 3 mesh those of the last axis are 0, 1, 2 and
    3, 4, 5.
    """
    place = rank_in(group)
    own = (next(line for line in lines(counts, axis) if place in line) for axis in range(len(counts)))
    return [subgroup(line, group) for line in own]


def lines(counts: Sequence[int], axis: int) -> list[list[int]]:
    """The groups along one axis.

    >>> lines((2, 3), 0)
    [[0, 3], [1, 4], [2, 5]]
    """
    inner = math.prod(counts[axis + 1 :])
    length = counts[axis]
    starts = [start for start in range(math.prod(counts)) if start // inner % length == 0]
    return [[start + step * inner for step in range(length)] for start in starts]


def _threads(part: Bound) -> int:
    """0 where the part leaves it to the mesh."""
    return int(getattr(part.options, "threads", 0))


def bind_mesh(parts: Sequence[Bound]) -> Bound:
    """The mesh of `parts` as one plug-in, whose count is the product of theirs."""
    mesh = Mesh(parts)
    first = parts[0]
    # A part without `spread` is refused before it is called.
    axes = tuple(Axis(getattr(part.module, "spread", None), part.atom.count or 1, part.options) for part in parts)
    options = Options(max(map(_threads, parts)), axes)
    listing = replace(first.listing, name=mesh.name, version=mesh.VERSION)
    return Bound(listing, mesh, replace(first.atom, count=mesh.count), options)
