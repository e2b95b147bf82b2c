"""Shares of ranks that have some rows of every picture: halos go to neighbours, gradients of all weights are summed.

Operations are taken in the order of the forward pass; from the first one on that cannot work on rows, all is whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tnbench.distributed.collectives import Call
from tnbench.distributed.halo import ROWS, Window, sent_rows
from tnbench.distributed.placement import joined_words
from tnbench.distributed.predict.network import Network, Op
from tnbench.distributed.predict.share import Part, Share


def spatial_share(network: Network, batch: float, ranks: int) -> Share | str:
    """What each rank does, and what the rank that sends most sends: rows until something takes whole pictures.

    The reason where no convolution has a row for each rank.
    """
    on_rows = _on_rows(network.ops, ranks)
    if not any(op.macs for op in on_rows):
        sides = "x".join(map(str, network.in_shape[1:]))
        return f"pictures of {sides} pixels have no convolution with rows for {ranks} ranks"
    whole = network.ops[len(on_rows) :]
    calls = [*_sums(network, on_rows, batch, ranks), *_leaving(on_rows[-1], whole, batch, ranks)]
    parts = [Part(op, batch, 1 / ranks) for op in on_rows] + [Part(op, batch) for op in whole]
    note = f"{len(on_rows)} of {len(parts)} operations are on rows of the pictures"
    return Share(tuple(parts), (*_halos(network, on_rows, batch, ranks), *calls), notes=(note,))


def _on_rows(ops: Sequence[Op], ranks: int) -> Sequence[Op]:
    """Operations up to the first whose input or output has fewer rows than there are ranks."""
    stop = next((place for place, op in enumerate(ops) if not _has_rows(op, ranks)), len(ops))
    while stop and stop < len(ops) and ops[stop].chain and ops[stop - 1].chain == ops[stop].chain:
        stop -= 1  # a chain is on rows with all of its factors
    return ops[:stop]


def _has_rows(op: Op, ranks: int) -> bool:
    return len(op.inp) >= ROWS and len(op.out) >= ROWS and min(op.inp[1], op.out[1]) >= ranks


def _halos(network: Network, ops: Sequence[Op], batch: float, ranks: int) -> list[Call]:
    """Of the rank that sends most: rows forward, and their gradients backward where what entered wants one."""
    each = [
        _halos_of(op, batch, ranks, wants)
        for op, wants in zip(ops, network.entering, strict=False)
        if op.window not in (None, Window())
    ]
    busiest = max(range(ranks), key=lambda rank: sum(sum(own[rank]) for own in each))
    return [Call("exchange", words, ranks) for own in each for words in own[busiest] if words]


def _halos_of(op: Op, batch: float, ranks: int, wants_gradient: bool) -> list[tuple[int, int]]:
    """Words sent forward and backward by each rank."""
    channels, rows, *others = op.inp
    assert op.window is not None
    row = batch * channels * math.prod(others)
    sent = sent_rows(op.window, rows, ranks)
    return [(round(row * forward), round(row * backward) if wants_gradient else 0) for forward, backward in sent]


def _sums(network: Network, ops: Sequence[Op], batch: float, ranks: int) -> list[Call]:
    """Gradients of each layer's trained weights, a chain's at once; BatchNorm's go with its statistics."""
    words: dict[str, int] = {}
    for op in ops:
        if op.name not in network.norms:
            words[op.chain or op.name] = words.get(op.chain or op.name, 0) + op.trained
    channels = [op.inp[0] for op in ops if op.name in network.norms]
    statistics = [each for C in channels for each in (2 * C + 1, 2 * C)]
    return [Call("all_reduce", each, ranks) for each in (*words.values(), *statistics) if each]


def _leaving(last: Op, whole: Sequence[Op], batch: float, ranks: int) -> list[Call]:
    """Where rows end: a mean over all sides is a sum over the ranks, for all else the rows are gathered."""
    if not whole:
        return []
    first = whole[0]
    pooled = first.kind == "memory" and len(first.out) >= ROWS and math.prod(first.out[1:]) == 1
    # What enters may have come from a function: as many features as channels are a mean of each.
    averaged = len(first.inp) == 1 and first.inp[0] == last.out[0]
    if pooled or averaged:
        return [Call("all_reduce", round(batch * last.out[0]), ranks)]
    left = first.inp if len(first.inp) >= ROWS else last.out
    return [Call("all_gather", round(batch * joined_words(left, 1, ranks)), ranks)]
