"""Shares of ranks that have consecutive layers each and pass parts of a batch on: a pipeline (GPipe, arXiv:1811.06965).

Where the network is cut is the pipeline's own say (`tnbench.distributed.pipeline.split`).
"""

from __future__ import annotations

import math

import torch

from tnbench.core.errors import NotApplicable
from tnbench.distributed.collectives import Call
from tnbench.distributed.pipeline.split import Split, split
from tnbench.distributed.predict.network import Network
from tnbench.distributed.predict.share import Part, Share


def pipeline_share(network: Network, batch: int, ranks: int, micro_batches: int) -> Share | str:
    """What the busiest rank computes for all micro-batches, and what the rank that sends most sends.

    There are at most as many micro-batches as pictures. Each operation is started once for each of them, and the step
    is longer than the busiest rank's work by the bubble's (P - 1) / M. The reason where there are not as many stages.
    """
    like = next(network.model.parameters())
    try:
        made = split(network.model, torch.zeros(1, *network.in_shape, dtype=like.dtype, device=like.device), ranks)
    except NotApplicable as reason:
        return str(reason)
    goes = min(micro_batches, batch)
    busiest = max(range(ranks), key=lambda stage: made.macs[stage])
    stages = _stages(network, made)
    calls = max((_calls(made, stage, batch, goes) for stage in range(ranks)), key=_words)
    note = f"the largest of {ranks} stages has {made.macs[busiest] / sum(made.macs):.0%} of the multiply-accumulates"
    return Share(
        tuple(Part(op, batch, goes=goes) for op, stage in zip(network.ops, stages, strict=True) if stage == busiest),
        tuple(calls),
        stretch=1 + (ranks - 1) / goes,
        notes=(f"{note}; the bubble adds {(ranks - 1) / goes:.0%}",),
    )


def _calls(made: Split, stage: int, batch: int, goes: int) -> list[Call]:
    """Of one rank: activations on, gradients back, and the last stage's scores to all."""
    ranks = len(made.macs)
    micro = [batch // goes + (number < batch % goes) for number in range(goes)]
    sent = [math.prod(made.leaves[stage].sides)] if stage < ranks - 1 else []
    sent += [math.prod(made.leaves[stage - 1].sides)] if stage else []
    scores = Call("broadcast", batch * math.prod(made.leaves[-1].sides), ranks)
    return [scores, *(Call("exchange", pictures * words, ranks) for words in sent for pictures in micro)]


def _words(calls: list[Call]) -> int:
    return sum(call.words for call in calls)


def _stages(network: Network, made: Split) -> list[int]:
    """The stage of each operation: that of its weights, and for those without any the one that was reached."""
    found, here = [], 0
    for op in network.ops:
        here = max(here, made.owners.get(f"{op.name}.weight", here))
        found.append(here)
    return found
