"""Shares of data-parallel ranks: each does all operations for its part of the batch, and gradients are summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import call_seconds
from tnbench.distributed.fully_sharded import blocks, padded
from tnbench.distributed.machine import Machine
from tnbench.distributed.predict.network import Network
from tnbench.distributed.predict.share import Pass, Share

_MIB = 2**20
_WORD_BYTES = 4


def buckets(share: Share, bucket_mb: float) -> list[tuple[int, int]]:
    """Gradients that go together: (place of the part whose gradient comes last, words), in the order they are sent.

    As DistributedDataParallel fills them: from the last layer to the first, each until it has `bucket_mb` MiB.
    """
    found, words, cap = [], 0, bucket_mb * _MIB / _WORD_BYTES
    for place in reversed(range(len(share.parts))):
        own = share.parts[place].own_weights
        words += own
        if own and words >= cap:
            found.append((place, words))
            words = 0
    return [*found, (0, words)] if words else found


def ddp_calls(share: Share, network: Network, ranks: int, bucket_mb: float, *, buffers: bool) -> tuple[Call, ...]:
    """All-reduces of gradients, and before them the broadcast of rank 0's running statistics, where that is done."""
    sent = (Call("broadcast", network.buffers, ranks),) if buffers and network.buffers else ()
    return (*sent, *(Call("all_reduce", words, ranks) for _, words in buckets(share, bucket_mb)))


def batch_norm_calls(share: Share, network: Network, ranks: int) -> tuple[Call, ...]:
    """Of statistics over the whole batch: 2C + 1 words forward and 2C backward for each BatchNorm of C channels."""
    channels = [part.op.out[0] for part in share.parts if part.op.name in network.norms]
    return tuple(Call("all_reduce", words, ranks) for C in channels for words in (2 * C + 1, 2 * C))


def fsdp_calls(model: nn.Module, ranks: int) -> tuple[Call, ...]:
    """Of torch's `fully_shard`, block by block: gathered before forward and before backward, gradients scattered.

    What belongs to no block is gathered once.
    """
    inner = [words for block in blocks(model) if (words := padded(block, ranks))]
    rest = padded(model, ranks) - sum(inner)
    gathers = [Call("all_gather", words, ranks) for words in [*inner, *inner, rest] if words]
    return (*gathers, *(Call("reduce_scatter", words, ranks) for words in [*inner, rest] if words))


def exposed_seconds(share: Share, passes: Sequence[Pass], calls: Sequence[Call], bucket_mb: float, m: Machine) -> float:
    """What the step waits for all-reduces where they run beside the backward pass, one after the other.

    A bucket can go when the backward pass has come to the first of its layers; what is left when the pass is over is
    waited for. A bound from below: sending is taken to slow nothing.
    """
    sends = [call for call in calls if call.kind == "all_reduce"]
    done = 0.0
    for ready, call in zip(_ready(share, passes, bucket_mb), sends, strict=True):
        done = max(done, ready) + call_seconds(call, m)
    return max(0.0, done - sum(each.backward_s for each in passes))


def _ready(share: Share, passes: Sequence[Pass], bucket_mb: float) -> Iterator[float]:
    """Seconds from the start of the backward pass until each bucket is full."""
    for place, _ in buckets(share, bucket_mb):
        yield sum(each.backward_s for each in passes[place:])
