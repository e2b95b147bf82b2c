"""Counting what torch sends by itself: for DistributedDataParallel, `fully_shard` and optimisers."""

from __future__ import annotations

from tnbench.distributed.collectives import Group, is_muted, note_call, size


def to_be_sent(kind: str, words: int, group: Group) -> bool:
    """Count a call that torch is about to make; false where it is to be left out: muted, or alone in the group."""
    ranks = size(group)
    if ranks == 1 or words == 0:
        return False
    note_call(kind, words, ranks)
    return not is_muted()
