"""Collectives over the ranks of a group, which count the words that they are given.

A word is one number of a tensor, whatever its type. Only the payload of a call is counted, padding included; what an
algorithm puts on the wire for it is modelled in `cost`, never counted. A group is a torch process group, None (all
ranks, or this process alone where no group was formed), or `ALONE`. In a group of one nothing is sent and nothing is
counted, nor is a call with no words, to which all ranks come with none; only `exchange`, where a rank may do nothing
but receive, counts that as a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store

Group = dist.ProcessGroup | None

ALONE: Group = dist.ProcessGroup(Store(), 0, 1)
"""This rank by itself: a group that nobody has to form, and in which every collective gives back what it is given.

torch knows nothing of it: its own modules, such as DistributedDataParallel, want a group that was formed.
"""

TIMEOUT = timedelta(days=7)
"""After which a waiting rank gives up: longer than any work for which it may be waiting.

What goes wrong is ended by others: the launcher ends all ranks when one dies, the executor a case beyond its limit.
"""


class Call(NamedTuple):
    """One collective call as one rank made it: ``all_reduce`` of `words` numbers over `ranks` ranks, say."""

    kind: str
    words: int
    ranks: int


@dataclass
class Counted:
    """The calls of this rank within a `counting` block, in order."""

    calls: list[Call] = field(default_factory=list)

    @property
    def words(self) -> int:
        """Of all calls together."""
        return sum(call.words for call in self.calls)

    def of(self, kind: str) -> int:
        """Words of the calls of one kind."""
        return sum(call.words for call in self.calls if call.kind == kind)


_counters: list[Counted] = []
_muted: list[bool] = []


@contextmanager
def counting() -> Iterator[Counted]:
    """Count the calls of this process within a block; blocks may be nested."""
    counted = Counted()
    _counters.append(counted)
    try:
        yield counted
    finally:
        _counters.pop()  # blocks end in the order of nesting; those without calls are equal


@contextmanager
def muted() -> Iterator[None]:
    """Let calls within a block return tensors of the right shapes without sending anything: for timing only."""
    _muted.append(True)
    try:
        yield
    finally:
        _muted.pop()


def note_call(kind: str, words: int, ranks: int) -> None:
    """Count a call that was made elsewhere, by torch's DistributedDataParallel, say."""
    for counter in _counters:
        counter.calls.append(Call(kind, words, ranks))


def to_be_sent(kind: str, words: int, group: Group) -> bool:
    """Count a call of which every rank knows the `words`; false where nothing is to be sent: alone, muted, no words.

    For the collectives below, and for calls that torch is about to make.
    """
    ranks = size(group)
    if ranks == 1 or words == 0:
        return False
    note_call(kind, words, ranks)
    return not _muted


def is_muted() -> bool:
    """Whether calls send nothing now."""
    return bool(_muted)


def size(group: Group = None) -> int:
    """How many ranks the group has."""
    return dist.get_world_size(group) if dist.is_initialized() else 1


def rank_in(group: Group = None) -> int:
    """This process's place in the group."""
    if group is ALONE:
        return 0
    return dist.get_rank(group) if dist.is_initialized() else 0


def barrier() -> None:
    """Wait for all ranks."""
    dist.barrier()


def all_reduce(tensor: Tensor, group: Group = None) -> Tensor:
    """The sum over the ranks of `tensor`, of one shape on all; `tensor` itself stays as it is. Counts its words."""
    total = tensor.clone(memory_format=torch.contiguous_format)
    if to_be_sent("all_reduce", total.numel(), group):
        dist.all_reduce(total, group=group)
    return total


def all_gather(tensor: Tensor, dim: int, group: Group = None) -> Tensor:
    """The ranks' tensors, of one shape on all, joined along `dim` in order of ranks. Counts the words of the result."""
    ranks = size(group)
    pieces = [tensor.contiguous()] * ranks
    if to_be_sent("all_gather", ranks * tensor.numel(), group):
        pieces = [torch.empty_like(pieces[0]) for _ in range(ranks)]
        dist.all_gather(pieces, tensor.contiguous(), group=group)
    return torch.cat(pieces, dim)


def reduce_scatter(tensor: Tensor, dim: int, group: Group = None) -> Tensor:
    """This rank's piece along `dim` of the sum over the ranks. Counts the words of `tensor`.

    The side `dim` must be a multiple of the number of ranks.
    """
    ranks = size(group)
    pieces = [piece.contiguous() for piece in tensor.chunk(ranks, dim)]
    if len({piece.shape for piece in pieces}) != 1 or len(pieces) != ranks:
        raise ValueError(f"got a side of {tensor.shape[dim]} for {ranks} ranks, wanted a multiple; pad it with zeros")
    if not to_be_sent("reduce_scatter", tensor.numel(), group):
        return pieces[rank_in(group)]
    mine = torch.empty_like(pieces[0])
    dist.reduce_scatter(mine, pieces, group=group)
    return mine


def all_to_all(pieces: Sequence[Tensor], group: Group = None) -> list[Tensor]:
    """Piece number r goes to rank r; what comes back is from rank 0, 1, ... Counts the words of all pieces.

    All pieces have one shape on all ranks.
    """
    given = [piece.contiguous() for piece in pieces]
    if not to_be_sent("all_to_all", sum(piece.numel() for piece in given), group):
        return given
    sent = torch.stack(given)
    got = torch.empty_like(sent)
    dist.all_to_all_single(got, sent, group=group)
    return list(got)


def broadcast(tensor: Tensor, source: int, group: Group = None) -> Tensor:
    """What rank `source` of the group has, on all. Counts its words."""
    sent = tensor.clone(memory_format=torch.contiguous_format)
    if to_be_sent("broadcast", sent.numel(), group):
        dist.broadcast(sent, group_src=source, group=group)
    return sent


def exchange(sends: Sequence[tuple[int, Tensor]], receives: Sequence[tuple[int, Tensor]], group: Group = None) -> None:
    """Send each tensor to its rank of the group, and fill the tensors of `receives` from theirs, all at once.

    Counts the words sent, as ``exchange``.
    """
    ranks = size(group)
    if ranks == 1 or not (sends or receives):
        return
    note_call("exchange", sum(tensor.numel() for _, tensor in sends), ranks)
    if _muted:
        return
    given = [(peer, tensor.contiguous()) for peer, tensor in sends]
    work = [dist.P2POp(dist.isend, tensor, group=group, group_peer=peer) for peer, tensor in given]
    work += [dist.P2POp(dist.irecv, tensor, group=group, group_peer=peer) for peer, tensor in receives]
    for request in dist.batch_isend_irecv(work):
        request.wait()
