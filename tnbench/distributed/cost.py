"""Predicted seconds of collectives: measured curves where there are some, else the models of their algorithms.

What an algorithm puts on the wire is modelled here and nowhere measured. n words are the payload of a call, as
`tnbench.distributed.collectives` counts it; P ranks; α and β of a link. Rings (Patarasuk and Yuan, JPDC 2009) send
(P - 1) messages for each pass over the ranks; recursive halving and doubling ("tree" here; Thakur, Rabenseifner and
Gropp, IJHPCA 2005) sends as many words in ⌈log₂ P⌉ messages. Two levels: reduce-scatter inside each node, all-reduce of
a rank's piece between the nodes, all-gather inside; an all-to-all goes through the rank of its own node that has the
receiver's place there, so that what is meant for other nodes crosses the network once and in one message a node.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tnbench.distributed.collectives import Call
from tnbench.distributed.machine import Link, Machine

ALGORITHMS = ("ring", "tree", "hierarchical")


class Wire(NamedTuple):
    """What one rank sends in a call, by a model: messages one after the other, and words."""

    messages: int
    words: float

    def seconds(self, link: Link) -> float:
        """Of these messages on a link."""
        return self.messages * link.alpha_s + self.words * link.beta_s


def on_wire(call: Call, algorithm: str = "ring") -> Wire:
    """What one rank sends for `call` by a flat algorithm, ``ring`` or ``tree``.

    >>> on_wire(Call("all_reduce", 100, 4))
    Wire(messages=6, words=150.0)
    >>> on_wire(Call("all_reduce", 100, 4), "tree").messages
    4
    """
    kind, n, P = call
    if P == 1:
        return Wire(0, 0.0)
    doublings = math.ceil(math.log2(P))
    if kind == "exchange":
        return Wire(1, float(n))
    if kind == "broadcast":
        return Wire(doublings, float(doublings * n))
    passes = 2 if kind == "all_reduce" else 1
    steps = doublings if algorithm == "tree" and kind != "all_to_all" else P - 1
    return Wire(passes * steps, passes * (P - 1) / P * n)


def modelled_seconds(call: Call, machine: Machine, algorithm: str = "best") -> float:
    """Seconds of `call` by an algorithm's model on the machine's links; ``best`` is the fastest of them.

    A flat algorithm over several nodes goes at the pace of the link between them.
    """
    if algorithm == "best":
        return min(modelled_seconds(call, machine, each) for each in ALGORITHMS)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"got the algorithm {algorithm!r}, wanted one of {', '.join(ALGORITHMS)} or best")
    between = _between(call.ranks, machine)
    if between is None:
        return on_wire(call, "ring" if algorithm == "hierarchical" else algorithm).seconds(machine.link)
    if algorithm == "hierarchical":
        return _two_levels(call, machine, between)
    return on_wire(call, algorithm).seconds(between)


def call_seconds(call: Call, machine: Machine) -> float:
    """Predicted seconds of one call.

    The measured curve where one was measured over as many ranks. Over other numbers of ranks the curve is scaled by
    the ratio that the ring's model gives, and without a curve the best algorithm's model counts.
    """
    if call.ranks == 1 or call.words == 0:
        return 0.0
    curve = machine.curves.get(call.kind)
    if curve is None:
        return modelled_seconds(call, machine)
    measured = curve(call.words)
    if call.ranks == machine.ranks:
        return measured
    there = on_wire(call._replace(ranks=machine.ranks)).seconds(machine.link)
    return measured * on_wire(call).seconds(machine.link) / there


def communication_seconds(calls: Iterable[Call], machine: Machine) -> float:
    """Of calls one after the other."""
    return sum(call_seconds(call, machine) for call in calls)


def predicted_seconds(calls: Iterable[Call], flops: float, packed_words: float, machine: Machine) -> float:
    """α-β-γ-δ: calls, `flops` at the rate of the machine's largest linear layer, and words packed (read and written).

    For algorithms on matrices and tensors; a network's layers each have a rate of their own (`predict`).
    """
    channels = max((rate.channels for rate in machine.rates if rate.kind == "linear"), default=1)
    gamma, _ = machine.rate("linear", channels, machine.threads, machine.ranks)
    return communication_seconds(calls, machine) + flops * gamma + 2 * packed_words * machine.delta_s


def _between(ranks: int, machine: Machine) -> Link | None:
    """The link between nodes, where a call over `ranks` ranks leaves a node."""
    return machine.between if machine.per_node and ranks > machine.per_node else None


def _two_levels(call: Call, machine: Machine, between: Link) -> float:
    kind, n, P = call
    G, nodes = machine.per_node, math.ceil(P / machine.per_node)
    if kind == "exchange":
        return on_wire(call).seconds(between)
    if kind == "broadcast":
        outer, inner = Call(kind, n, nodes), Call(kind, n, G)
        return on_wire(outer).seconds(between) + on_wire(inner).seconds(machine.link)
    if kind == "all_to_all":
        return on_wire(Call(kind, n, nodes)).seconds(between) + on_wire(Call(kind, n, G)).seconds(machine.link)
    # Each rank of a node has a piece of n / G words to send to the same place of the other nodes.
    pace = min(on_wire(Call(kind, math.ceil(n / G), nodes), way).seconds(between) for way in ("ring", "tree"))
    return pace + on_wire(Call(kind, n, G)).seconds(machine.link)
