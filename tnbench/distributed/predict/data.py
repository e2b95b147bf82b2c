"""Shares of data-parallel ranks: each does all operations for its part of the batch, and gradients are summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor, nn

from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import call_seconds
from tnbench.distributed.fully_sharded import blocks
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
        own = share.parts[place].own_trained
        words += own
        if own and words >= cap:
            found.append((place, words))
            words = 0
    return [*found, (0, words)] if words else found


def ddp_calls(share: Share, network: Network, ranks: int, bucket_mb: float, *, buffers: bool) -> tuple[Call, ...]:
    """All-reduces of gradients, those of trained weights.

    Before them comes the broadcast of rank 0's running statistics, where that is done.
    """
    sent = (Call("broadcast", network.buffers, ranks),) if buffers and network.buffers else ()
    return (*sent, *(Call("all_reduce", words, ranks) for _, words in buckets(share, bucket_mb)))


def weight_calls(share: Share, ranks: int) -> tuple[Call, ...]:
    """Broadcasts after a step of an optimiser whose state the ranks share out: of every weight, by who moved it."""
    return tuple(Call("broadcast", part.own_weights, ranks) for part in share.parts if part.own_weights)


def batch_norm_calls(share: Share, network: Network, ranks: int) -> tuple[Call, ...]:
    """Of statistics over the whole batch: 2C + 1 words forward and 2C backward for each BatchNorm of C channels."""
    found = []
    for part, entering in zip(share.parts, network.entering, strict=True):
        if part.op.name in network.norms:
            C = part.op.out[0]
            found += [2 * C + 1, 2 * C] if entering or part.op.trained else [2 * C + 1]
    return tuple(Call("all_reduce", words, ranks) for words in found)


def fsdp_calls(model: nn.Module, ranks: int) -> tuple[Call, ...]:
    """Of torch's `fully_shard`, block by block: gathered before forward and before backward, gradients scattered.

    What belongs to no block is gathered once. The backward pass ends at the first block that is trained, while torch
    has fetched one block more by then.
    """
    inner, trained = _padded(model, ranks, frozen=True), _padded(model, ranks, frozen=False)
    first = next((place for place, words in enumerate(trained[:-1]) if words), len(trained))
    gathers = [Call("all_gather", words, ranks) for words in [*inner, *inner[max(0, first - 1) : -1]] if words]
    return (*gathers, *(Call("reduce_scatter", words, ranks) for words in trained if words))


def _padded(model: nn.Module, ranks: int, *, frozen: bool) -> list[int]:
    """Words of each block, and last of what belongs to none: of all tensors, or of those that are trained."""
    whole, *own = (
        padded_words((each for each in block.parameters() if frozen or each.requires_grad), ranks)
        for block in (model, *blocks(model))
    )
    return [*own, whole - sum(own)]


def padded_words(tensors: Iterable[Tensor], ranks: int) -> int:
    """Words of `tensors` when the first side of each is rounded up to a multiple of `ranks`."""
    return sum(-(-len(values) // ranks) * ranks * values[0].numel() for values in tensors)


def exposed_seconds(share: Share, passes: Sequence[Pass], calls: Sequence[Call], bucket_mb: float, m: Machine) -> float:
    """What the step waits for `calls`, all-reduces of gradients, one after the other beside the backward pass.

    A bucket can go when the backward pass has come to the first of its layers; what is left when the pass is over is
    waited for. A bound from below: sending is taken to slow nothing.
    """
    done = 0.0
    for ready, call in zip(_ready(share, passes, bucket_mb), calls, strict=True):
        done = max(done, ready) + call_seconds(call, m)
    return max(0.0, done - sum(each.backward_s for each in passes))


def _ready(share: Share, passes: Sequence[Pass], bucket_mb: float) -> Iterator[float]:
    """Seconds from the start of the backward pass until each bucket is full."""
    for place, _ in buckets(share, bucket_mb):
        yield sum(each.backward_s for each in passes[place:])
