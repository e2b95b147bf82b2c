"""What a machine costs: seconds per message, per word sent, per FLOP and per word moved, measured or assumed.

The words of the α-β-γ model (Hockney, Parallel Computing 1994; Thakur, Rabenseifner and Gropp, IJHPCA 2005), with two
departures that measurements ask for: a collective's seconds are a measured curve over its words rather than one line,
and the seconds of a FLOP depend on the kind of layer and on its channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "exchange")
"""Kinds of `tnbench.distributed.collectives.Call`."""

LAYERS = ("linear", "conv1x1", "conv", "depthwise")
"""Kinds of layers whose FLOPs cost differently."""

SCHEMA = 1


@dataclass(frozen=True)
class Link:
    """What joins two ranks: `alpha_s` seconds for a message, `beta_s` for each word of it."""

    alpha_s: float
    beta_s: float


@dataclass(frozen=True)
class Curve:
    """Seconds over words: linear between the points, constant below the first, and the last slope beyond the last.

    >>> Curve(((100, 1.0), (300, 3.0)))(200)
    2.0
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        words = [word for word, _ in self.points]
        if not words or words != sorted(set(words)):
            raise ValueError(f"a curve: got points at {words}, wanted one or more at rising words")

    def __call__(self, words: float) -> float:
        first, last = self.points[0], self.points[-1]
        if words <= first[0] or len(self.points) == 1:
            return first[1] if words <= first[0] else last[1] * words / last[0]
        low, high = next((piece for piece in pairwise(self.points) if words <= piece[1][0]), self.points[-2:])
        return low[1] + (high[1] - low[1]) * (words - low[0]) / (high[0] - low[0])


def rising(points: Sequence[tuple[float, float]]) -> Curve:
    """A curve that never falls: a call gets the seconds of a larger one where that was the faster.

    What disturbs a measurement makes it longer, so of two that disagree the shorter is nearer the machine's.

    >>> rising([(1, 5.0), (2, 4.0), (3, 6.0)]).points
    ((1, 4.0), (2, 4.0), (3, 6.0))
    """
    least, kept = math.inf, []
    for words, seconds in sorted(points, reverse=True):
        least = min(least, seconds)
        kept.append((words, least))
    return Curve(tuple(reversed(kept)))


@dataclass(frozen=True)
class Rate:
    """Seconds per FLOP of a `kind` of layer with `channels` (the smaller of a group's two sides), by `threads` threads.

    `ranks`: so many processes were at work at once, which share memory and caches.
    """

    kind: str
    channels: int
    threads: int
    ranks: int
    forward_s: float
    backward_s: float


@dataclass(frozen=True)
class Machine:
    """A machine as the cost model sees it: `link` inside a node, `between` nodes of `per_node` ranks each.

    `curves` are of `ranks` ranks with `threads` threads each. `delta_s` is for a word read or written in memory,
    `launch_s` for starting one operation. `overlaps` says whether sending takes nothing from computing, as on a GPU.
    `measured` says where and when; it is empty for a machine of assumptions.
    """

    name: str
    ranks: int
    threads: int
    link: Link
    rates: tuple[Rate, ...]
    delta_s: float
    launch_s: float
    curves: Mapping[str, Curve] = field(default_factory=dict)
    between: Link | None = None
    per_node: int = 0
    overlaps: bool = False
    measured: Mapping[str, Any] = field(default_factory=dict)

    def rate(self, kind: str, channels: int, threads: int, ranks: int) -> tuple[float, float]:
        """Forward and backward seconds per FLOP, between measured channels by the logarithm of their number.

        Where nothing was measured with `threads`, the nearest number was and the work is taken to share out evenly;
        where nothing was measured with `ranks` at work, the nearest number counts. ValueError for a kind without rates.
        """
        own = [rate for rate in self.rates if rate.kind == kind]
        if not own:
            raise ValueError(f"machine {self.name}: got no rate for {kind!r}, wanted one; run tnbench calibrate again")
        closest = min({(rate.threads, rate.ranks) for rate in own}, key=lambda seen: _far(seen, (threads, ranks)))
        there = sorted((r for r in own if (r.threads, r.ranks) == closest), key=lambda rate: rate.channels)
        share = closest[0] / threads
        at = math.log(max(1, channels))
        points = [(math.log(rate.channels), rate) for rate in there]
        forward = _between([(x, rate.forward_s) for x, rate in points], at)
        backward = _between([(x, rate.backward_s) for x, rate in points], at)
        return share * forward, share * backward

    def every(self, step: int) -> Machine:
        """As groups of every `step`-th rank see it: of the ranks of a node, `per_node` // `step` are in one group.

        >>> Machine("", 8, 1, Link(0, 0), (), 0, 0, between=Link(0, 0), per_node=8).every(4).per_node
        2
        """
        return replace(self, per_node=max(1, self.per_node // step)) if self.per_node else self

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, with a schema number."""
        return {"schema": SCHEMA, **asdict(self), "curves": {kind: list(c.points) for kind, c in self.curves.items()}}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Machine:
        """The inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        if read["schema"] != SCHEMA:
            raise ValueError(f"got schema {read['schema']}, wanted {SCHEMA}")
        fields = {name: value for name, value in read.items() if name != "schema"}
        between = fields["between"]
        return cls(
            **fields
            | {
                "link": Link(**fields["link"]),
                "between": Link(**between) if between else None,
                "rates": tuple(Rate(**rate) for rate in fields["rates"]),
                "curves": {
                    kind: Curve(tuple((float(words), float(seconds)) for words, seconds in points))
                    for kind, points in fields["curves"].items()
                },
            }
        )


def _far(seen: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float]:
    """How far a measured (threads, ranks) is from the wanted one; threads count first."""
    return abs(math.log(seen[0] / wanted[0])), abs(math.log(seen[1] / wanted[1]))


def _between(points: Sequence[tuple[float, float]], at: float) -> float:
    """Linear between rising points, constant outside of them."""
    if at <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return points[-1][1]
