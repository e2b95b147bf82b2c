"""What one rank does in one training step, and how long a machine takes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tnbench.distributed.collectives import Call
from tnbench.distributed.machine import Machine
from tnbench.distributed.predict.network import Op

UPDATE_WORDS = 5
"""SGD with momentum reads a weight, its gradient and its momentum, and writes two of them."""


class Part(NamedTuple):
    """A rank's part of one operation: so many pictures of its batch, and a fraction of its work and weights.

    `channels` are what the rank has of the operation's, for its seconds per FLOP. The pictures come in `goes`, one
    after the other (the micro-batches of a pipeline).
    """

    op: Op
    pictures: float
    work: float = 1.0
    weights: float = 1.0
    channels: int = 0
    goes: int = 1

    @property
    def own_weights(self) -> int:
        """Words of parameters that this rank keeps."""
        return round(self.op.weights * self.weights)

    @property
    def own_trained(self) -> int:
        """Of these the words that are trained."""
        return round(self.op.trained * self.weights)


@dataclass(frozen=True)
class Share:
    """A rank's parts in the order of the forward pass, and the calls that it waits for, forward and backward.

    `stretch` is how much longer than its own work a rank is busy or waits (the bubble of a pipeline). `updated` is the
    fraction of its trained weights that the rank's own optimiser moves.
    """

    parts: tuple[Part, ...]
    calls: tuple[Call, ...] = ()
    stretch: float = 1.0
    updated: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def trained(self) -> int:
        """Words of parameters that this rank keeps and trains."""
        return sum(part.own_trained for part in self.parts)


class Pass(NamedTuple):
    """Seconds of one part of the forward pass and of its part of the backward pass."""

    forward_s: float
    backward_s: float


def seconds_of(part: Part, machine: Machine, threads: int, ranks: int) -> Pass:
    """Of one part, with `ranks` processes of `threads` threads at work.

    The backward pass has twice the FLOPs: gradients of what entered, and of the weights. No pass takes less than
    reading the weights does, or backward reading them and writing their gradients, each time that pictures come.
    """
    op, starts = part.op, part.goes * machine.launch_s
    if op.kind == "memory":
        moved = part.pictures * part.work * op.words * machine.delta_s
        return Pass(moved + starts, 1.5 * moved + starts)
    forward, backward = machine.rate(op.kind, part.channels or op.channels, threads, ranks)
    flops = 2 * op.macs * part.pictures * part.work
    read = part.goes * part.own_weights * machine.delta_s
    return Pass(max(flops * forward, read) + starts, max(2 * flops * backward, 2 * read) + 2 * starts)


def passes(share: Share, machine: Machine, threads: int, ranks: int) -> list[Pass]:
    """Of all parts, in the order of the forward pass."""
    return [seconds_of(part, machine, threads, ranks) for part in share.parts]


def compute_seconds(share: Share, machine: Machine, threads: int, ranks: int) -> float:
    """Forward, backward and the optimiser's step of one rank, without what it waits for others."""
    both = sum(forward + backward for forward, backward in passes(share, machine, threads, ranks))
    return share.stretch * both + UPDATE_WORDS * share.updated * share.trained * machine.delta_s


def words_by_kind(calls: Sequence[Call]) -> Mapping[str, int]:
    """Kind of collective -> payload words of one rank's calls, as `collectives.counting` counts them."""
    words: dict[str, int] = {}
    for call in calls:
        if call.ranks > 1 and call.words:
            words[call.kind] = words.get(call.kind, 0) + call.words
    return words
