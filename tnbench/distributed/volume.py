"""What an algorithm costs one rank, in counts that no machine enters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Volume(NamedTuple):
    """Of the rank that has most: arithmetic, communication, and what is copied into another order on the way.

    `flops` are those that the algorithm needs, a symmetric product taken by half. `words` and `messages` are exactly
    what `tnbench.distributed.collectives.counting` counts: numbers in the payloads of collectives, padding included,
    and calls. `packed` words are copied so that a collective or a product finds them in one piece.
    """

    flops: float = 0.0
    words: int = 0
    messages: int = 0
    packed: int = 0


def total(volumes: Iterable[Volume]) -> Volume:
    """One after another.

    >>> total([Volume(1.0, 2, 1), Volume(2.0, 5, 1, 4)])
    Volume(flops=3.0, words=7, messages=2, packed=4)
    """
    flops, words, messages, packed = 0.0, 0, 0, 0
    for volume in volumes:
        flops += volume.flops
        words += volume.words
        messages += volume.messages
        packed += volume.packed
    return Volume(flops, words, messages, packed)


def call(words: int, ranks: int, packed: int = 0) -> Volume:
    """One collective over `ranks` ranks; in a group of one nothing is sent, counted or packed."""
    return Volume(0.0, words, 1, packed) if ranks > 1 else Volume()
