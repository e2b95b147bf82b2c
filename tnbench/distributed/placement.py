"""Who has which part of a side that is shared out, and whole tensors out of the parts and back.

A side of n is cut as ``tensor_split`` cuts it: the first n mod P of P parts are one longer than the others, and no
rank computes with padding. Channels and rows of networks are shared so. A *piece*, or block, of a tensor over a grid
(`tnbench.distributed.grid.piece`) is another cut: all are ceil(n / P) long, with zeros beyond the tensor, as
collectives of one length and sums over ranks want them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_gather, rank_in, size


class Shard(NamedTuple):
    """Of a tensor that is `size` long along `dim`, each rank has its part."""

    dim: int
    size: int


def part(size: int, ranks: int, rank: int) -> range:
    """What rank number `rank` of `ranks` has of a side of `size`.

    >>> [list(part(5, 2, rank)) for rank in range(2)]
    [[0, 1, 2], [3, 4]]
    """
    least, longer = divmod(size, ranks)
    start = rank * least + min(rank, longer)
    return range(start, start + least + (rank < longer))


def parts(size: int, ranks: int) -> list[range]:
    """What each of `ranks` has of a side of `size`, rank 0 first."""
    return [part(size, ranks, rank) for rank in range(ranks)]


def own_part(whole: Tensor, dim: int, group: Group) -> Tensor:
    """A view of this rank's part of `whole` along `dim`."""
    mine = part(whole.shape[dim], size(group), rank_in(group))
    return whole.narrow(dim, mine.start, len(mine))


def joined(own: Tensor, shard: Shard, group: Group) -> Tensor:
    """The whole tensor out of the ranks' parts, by an all-gather of parts padded to one length.

    It counts P · ceil(size / P) · (the product of the other sides) words.
    """
    dim, whole = shard
    ranks = size(group)
    longest = len(part(whole, ranks, 0))
    missing = longest - own.shape[dim]
    if missing:
        padding = own.new_zeros([missing if axis == dim else side for axis, side in enumerate(own.shape)])
        own = torch.cat([own, padding], dim)
    gathered = all_gather(own, dim, group)
    if whole % ranks == 0:
        return gathered
    pieces = gathered.split(longest, dim)
    return torch.cat(
        [piece.narrow(dim, 0, len(mine)) for piece, mine in zip(pieces, parts(whole, ranks), strict=True)], dim
    )


def joined_words(shape: tuple[int, ...], dim: int, ranks: int) -> int:
    """Words that `joined` counts for a whole tensor of `shape`; none in a group of one."""
    if ranks == 1:
        return 0
    words = ranks * -(-shape[dim] // ranks)
    for axis, side in enumerate(shape):
        words *= 1 if axis == dim else side
    return words
