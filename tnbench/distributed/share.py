"""Which share of a batch a rank works on where data-parallel crews are put on top of one another."""

from __future__ import annotations

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import Group, rank_in, size


def shared_out(crew: Crew, group: Group) -> tuple[int, int]:
    """The share (number, of how many) of this rank when `group` divides among itself what `crew` works on together.

    A crew as it is launched has no work in common yet: then the ranks of the group share the batch.
    """
    rank, inner = (0, 1) if crew.share is None else crew.share
    return rank_in(group) * inner + rank, size(group) * inner
