"""Measuring a machine for the cost model: on processes that stay, in less than a minute.

Every number is the median of samples, with an order-statistic interval beside it. A collective's sample is the slowest
rank's seconds after a barrier. Rates are measured with all ranks at work, and with one alone.
"""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tnbench.core.errors import UsageError
from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import on_wire
from tnbench.distributed.machine import Curve, Link, Machine, Rate, rising
from tnbench.distributed.pool import RankPool
from tnbench.distributed.timed_ranks import (
    COLLECTIVES,
    FULL,
    Plan,
    Samples,
    time_collectives,
    time_layers,
    time_memory,
)
from tnbench.measure.environment import device_model, surroundings, torch_version, usable_cores
from tnbench.measure.statistics import median_interval


def calibrate(ranks: int, threads: int, plan: Plan = FULL) -> Machine:
    """Measure this machine's processor with `ranks` processes of `threads` threads each, joined by gloo.

    Raises UsageError where there are too few cores for that, since ranks that wait for each other's core measure
    nothing that a case should be held against.
    """
    check_cores(ranks, threads)
    load = os.getloadavg()[0]
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    with RankPool(ranks, threads=threads) as pool:
        calls = slowest(pool.run(partial(time_collectives, words=plan.words, samples=plan.samples)))
        busy = pool.run(partial(time_layers, plan=plan, threads=threads, alone=False))
        alone = [pool.run(partial(time_layers, plan=plan, threads=n, alone=True))[0] for n in _threads_alone(threads)]
        memory = slowest(pool.run(partial(time_memory, words=plan.copied, samples=plan.layer_samples)))
    rates = [*_rates(slowest(busy), threads, ranks)]
    for n, timed in zip(_threads_alone(threads), alone, strict=True):
        rates += _rates(timed, n, 1)
    curves = {
        kind: rising([(words, statistics.median(calls[f"{kind} {words}"])) for words in plan.words])
        for kind in COLLECTIVES
    }
    return Machine(
        name=f"{device_model('cpu')}, gloo, {ranks} ranks of {threads} thread{'s' if threads > 1 else ''}",
        ranks=ranks,
        threads=threads,
        link=_link(curves["all_reduce"], ranks),
        rates=tuple(rates),
        delta_s=statistics.median(memory["copy"]) / (2 * plan.copied),
        launch_s=statistics.median(memory["launch"]),
        curves=curves,
        measured={
            "started": started,
            "load": load,
            **_surroundings(),
            "intervals": intervals(calls | memory | slowest(busy)),
        },
    )


def check_cores(ranks: int, threads: int) -> None:
    """Raise UsageError for fewer than two ranks, no thread, or more threads in all than usable cores."""
    if ranks < 2 or threads < 1:
        raise UsageError(f"calibrate: got {ranks} ranks of {threads} threads, wanted at least 2 ranks of 1 thread")
    if ranks * threads > usable_cores():
        raise UsageError(
            f"calibrate: got {ranks} ranks of {threads} threads, wanted no more in all than the {usable_cores()} "
            f"usable cores (affinity and cgroup quota), for ranks that share a core time each other; "
            f"lower --ranks or --threads"
        )


def intervals(timed: Mapping[str, Sequence[float]]) -> dict[str, list[float | None]]:
    """What was timed -> median, and the ends of its 95 % interval, in seconds."""
    return {name: list(median_interval(samples)[:3]) for name, samples in timed.items()}


def slowest(ranks: Sequence[Samples]) -> Samples:
    """Each sample of the rank that took longest for it."""
    return {name: [max(each) for each in zip(*(rank[name] for rank in ranks), strict=True)] for name in ranks[0]}


def _rates(timed: Samples, threads: int, ranks: int) -> list[Rate]:
    names = [name.rpartition(" ")[0] for name in timed if name.endswith("forward")]
    return [
        Rate(
            kind=name.split()[0],
            channels=int(name.split()[1]),
            threads=threads,
            ranks=ranks,
            forward_s=statistics.median(timed[f"{name} forward"]),
            backward_s=statistics.median(timed[f"{name} backward"]),
        )
        for name in names
    ]


def _link(all_reduce: Curve, ranks: int) -> Link:
    """α from the smallest all-reduce and β from the largest, by the ring's model of both."""
    (_, least), (words, most) = all_reduce.points[0], all_reduce.points[-1]
    wire = on_wire(Call("all_reduce", int(words), ranks))
    return Link(alpha_s=least / wire.messages, beta_s=(most - least) / wire.words)


def _threads_alone(threads: int) -> list[int]:
    """With how many threads one process is timed by itself: one, a rank's own, and all cores."""
    return sorted({1, threads, usable_cores()})


def _surroundings() -> dict[str, Any]:
    known = surroundings("cpu")
    return {name: known[name] for name in ("host", "os", "cpu", "cores")} | {
        "torch": torch_version(),
        "backend": "gloo",
    }
