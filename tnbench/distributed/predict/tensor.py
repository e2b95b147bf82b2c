"""Shares where ranks cut the factors of compressed layers: ``rank_tp``, ``bottleneck_tp``, and layers of both kinds.

Which factor is cut how is the sharding's own say (`tnbench.distributed.sharding.roles`), and so is where whole values
are wanted between layers (`tnbench.distributed.mixed_cuts`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tnbench.core.errors import NotApplicable
from tnbench.distributed.collectives import Call
from tnbench.distributed.mixed_cuts import Between, Cuts, between, roles_of
from tnbench.distributed.placement import joined_words
from tnbench.distributed.predict.network import Network, Op
from tnbench.distributed.predict.share import Part, Share
from tnbench.distributed.sharding.roles import Cut, Role, roles


def cut_share(network: Network, batch: float, ranks: int, cuts: Cuts) -> Share | str:
    """What each of `ranks` ranks does of a batch of `batch` pictures, all of which each rank has.

    The reason where no layer can be cut so.
    """
    if not cuts:
        return f"no layer is a chain of factors that {ranks} ranks can cut"
    try:
        given = roles_of(network.model, cuts, ranks)
        across = any(cut != "rank" for cut in cuts.values())
        outside = between(network.model, network.graph, cuts, ranks) if across else Between()
    except NotApplicable as reason:
        return str(reason)
    by_op = _by_op(network, given)
    parts = tuple(_part(op, by_op.get(id(op)), outside, batch, ranks) for op in network.ops)
    words = [*_within(network, by_op, ranks), *(("all_gather", words) for words in (*outside.joined, *outside.split))]
    whole = len({op.chain or op.name for op in network.ops if op.macs}) - len(cuts)
    return Share(
        parts,
        tuple(Call(kind, round(each * batch), ranks) for kind, each in words),
        notes=(f"{len(cuts)} layers are cut, {whole} are whole on each rank",),
    )


def cuttable(network: Network, ranks: int, cut: Cut) -> list[str]:
    """Names of the chains that `ranks` ranks can cut so."""
    return [name for name, chain in network.chains.items() if not isinstance(roles(chain, ranks, cut), str)]


def _by_op(network: Network, given: dict[str, list[Role]]) -> dict[int, Role]:
    """The role of each factor, by the identity of its operation."""
    found: dict[int, Role] = {}
    for chain, own in given.items():
        factors = [op for op in network.ops if op.chain == chain]
        # A chain that is called several times has its factors as often.
        found |= {id(op): own[place % len(own)] for place, op in enumerate(factors)}
    return found


def _within(network: Network, by_op: dict[int, Role], ranks: int) -> Iterator[tuple[str, int]]:
    """Kind and words for one picture of what the factors exchange, forward and backward."""
    for op, wants_gradient in zip(network.ops, network.entering, strict=True):
        role = by_op.get(id(op))
        if role is None:
            continue
        if role.copies and wants_gradient:
            yield "all_reduce", math.prod(op.inp)
        if role.sums:
            yield "all_reduce", math.prod(op.out)
        if role.joins:
            yield "all_gather", joined_words(op.out, 0, ranks)


def _part(op: Op, role: Role | None, outside: Between, batch: float, ranks: int) -> Part:
    if role is None:
        share = 1 / ranks if op.name in outside.channelwise else 1.0
        return Part(op, batch, share, share)
    if role.kind == "whole":
        return Part(op, batch)
    whole = op.bias if role.sums or role.joins else 0  # it is added behind the sum, or to all channels
    kept = (whole + (op.weights - whole) / ranks) / max(1, op.weights)
    return Part(op, batch, 1 / ranks, kept, _own_channels(op, role, ranks))


def _own_channels(op: Op, role: Role, ranks: int) -> int:
    """The smaller side of a rank's part of the weight: it decides the seconds per FLOP."""
    sides: Sequence[int] = (op.inp[0], op.out[0])
    if role.kind == "channels":
        return max(1, op.channels // ranks)
    cut = op.out[0] if role.kind == "outputs" else op.inp[0]
    return max(1, min(*sides, cut // ranks))
