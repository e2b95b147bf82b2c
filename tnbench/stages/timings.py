"""Which parts of a case another clock may time, each laid out as tnbench's own clocks have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tnbench.engine.loop import WARM_UP_STEPS
from tnbench.stages.measure import LATENCY_BATCH, WARM_UP_CALLS
from tnbench.stages.workbench import Call, Workbench


class Timed(NamedTuple):
    """A call to time, and how often it is to be called first, off the clock."""

    call: Call
    warm_up: int


def _forward(bench: Workbench) -> Timed:
    return Timed(bench.forward(LATENCY_BATCH), WARM_UP_CALLS)


def _decompose(bench: Workbench) -> Timed:
    return Timed(bench.decompose(), 0)  # the workbench has warmed the solvers up


def _step(bench: Workbench) -> Timed:
    return Timed(bench.step(), WARM_UP_STEPS)


LAY_OUT: Mapping[str, Callable[[Workbench], Timed]] = {"forward": _forward, "decompose": _decompose, "step": _step}
"""By name: a forward pass at batch 1, one decomposition, one training step."""
