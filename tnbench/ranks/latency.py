"""Measured time of every layer at most dense/R: all its ranks are scaled by the largest such fraction."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe, Ranks
from tnbench.ranks._scale import Multiples, read_number, shown, uniform_steps, wrong

VERSION = 1
PATTERN = ("latency-xR", r"latency-x[-+.0-9].*")
Options = Multiples

_WANTED = "latency-x and a number from 1 up, such as 'latency-x2' for half of the measured time"


class _Fastest(NamedTuple):
    """The least that was measured of a layer that is never fast enough."""

    speedup: float
    reason: str


def check(text: str) -> None:
    """Raise UsageError unless R is a number from 1 up."""
    if read_number(text, "latency-x", _WANTED) < 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The largest ranks that are fast enough and save weights; a layer without such ranks stays dense.

    Larger ranks are taken to be no faster, which bisection needs; the ranks chosen were measured to be fast enough.
    Raises NotApplicable where no layer has such ranks.
    """
    check(text)
    ratio = float(read_number(text, "latency-x", _WANTED))
    found = [_search(candidate, ratio, options.multiple, probe) for candidate in candidates]
    slow = [each for each in found if isinstance(each, _Fastest)]
    if slow and len(slow) == len(found):
        best = max(slow)
        raise NotApplicable(
            f"{text} cannot be reached by any layer: {best.reason}; "
            + (
                f"take latency-x{int(best.speedup * 100) / 100:g}"
                if best.speedup >= 1
                else "no ranks are faster than dense"
            )
        )
    return [KeepDense(each.reason) if isinstance(each, _Fastest) else each for each in found]


def _search(candidate: Candidate, ratio: float, multiple: int, probe: Probe) -> Ranks | _Fastest:
    steps = uniform_steps(candidate.largest, multiple)
    steps = list(itertools.takewhile(lambda ranks: candidate.count(ranks) < candidate.dense, steps))
    if not steps:
        return _Fastest(0.0, f"no ranks of layer {candidate.name!r} save weights")
    dense = probe.latency_ms(candidate.name, None)
    enough = bisect_right(steps, dense / ratio, key=lambda ranks: probe.latency_ms(candidate.name, ranks))
    if enough:
        return steps[enough - 1]
    took = probe.latency_ms(candidate.name, steps[0])
    return _Fastest(
        dense / took,
        f"layer {candidate.name!r} takes {took:.3g} ms at rank {shown(steps[0])}, {dense:.3g} ms as it is",
    )
