"""Measuring the decomposition of a network with its layers spread over ranks, against one of the ranks alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tnbench.core.protocols import Crew, Factors, Ranks
from tnbench.distributed.collectives import broadcast
from tnbench.distributed.schedule import over_ranks
from tnbench.engine.applied import Applied, needs_stats
from tnbench.measure.clock import synchronise
from tnbench.stages.decompose import Decomposition
from tnbench.stages.prepare import Prepared

_MOST_SAMPLES, _ABOUT_S = 6, 2.0


@dataclass(frozen=True)
class Layers:
    """What is factorised at a time, with ranks that are known already; it crosses to the ranks."""

    parts: tuple[tuple[Applied, Ranks], ...]
    seed: int


class Times(NamedTuple):
    """Seconds of every repetition: by rank 0 alone, and by all ranks, as this rank saw it."""

    alone: list[float]
    spread: list[float]


def layers_of(prepared: Prepared, decompositions: Sequence[Decomposition]) -> Layers | None:
    """Those of the case's last decomposition. None where nothing is factorised layer by layer and weight by weight:

    in a dense or narrowed network, and by solvers that look at what reaches a layer through the layers before it.
    """
    methods = prepared.methods
    if not decompositions or methods[0].atom.name == "dense" or any(map(needs_stats, methods)):
        return None
    swapped = decompositions[-1].swapped
    parts = tuple((swapped.targets[name], ranks) for name, ranks in swapped.ranks.items() if name in swapped.targets)
    return Layers(parts, prepared.job.case.seed) if parts else None


def measure_decomposition(crew: Crew, layers: Layers) -> Times:
    """Factorise all layers on rank 0 alone, then each on the rank that `longest_first` gives it.

    A layer's cost in the schedule is the time that it took alone just before, so that the schedule is as good as one
    that knows. Both times end when the factors are there: on rank 0, and on all ranks.
    """
    for part, _ in layers.parts:
        for layer in part.layers.values():
            layer.to(crew.device)
    work = _work(layers)
    work(min(range(len(layers.parts)), key=lambda item: layers.parts[item][0].weight.numel()))  # what solvers set up
    costs = _agreed(crew, _costs(crew, work, len(layers.parts)))
    repeats = min(max(int(_ABOUT_S / max(sum(costs), 1e-6)), 1), _MOST_SAMPLES)
    alone = [sum(costs), *(sum(_costs(crew, work, len(costs))) for _ in range(repeats - 1))]
    return Times(alone, [_together(crew, layers, work, costs) for _ in range(repeats)])


def _work(layers: Layers) -> Callable[[int], Factors]:
    def factors(item: int) -> Factors:
        part, ranks = layers.parts[item]
        return part.factorise(ranks, seed=layers.seed)

    return factors


def _costs(crew: Crew, work: Callable[[int], Factors], items: int) -> list[float]:
    """Seconds of each item on rank 0, for which the others wait, item by item; zeros on those."""
    crew.barrier()
    seconds = [0.0] * items
    for item in range(items):
        if crew.rank == 0:
            start = time.perf_counter()
            work(item)
            synchronise(crew.device)
            seconds[item] = time.perf_counter() - start
        crew.barrier()
    return seconds


def _agreed(crew: Crew, costs: list[float]) -> list[float]:
    found: list[float] = broadcast(torch.tensor(costs, dtype=torch.float64, device=crew.device), 0).tolist()
    return found


def _together(crew: Crew, layers: Layers, work: Callable[[int], Factors], costs: Sequence[float]) -> float:
    crew.barrier()
    start = time.perf_counter()
    over_ranks(work, costs, layers.parts[0][0].weight)
    synchronise(crew.device)
    return time.perf_counter() - start
