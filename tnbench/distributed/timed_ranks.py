"""What the ranks of a calibration time: collectives, layers and memory, each call after a barrier."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew
from tnbench.distributed import collectives
from tnbench.measure.statistics import LEAST_SAMPLES

Samples = dict[str, list[float]]
"""What was timed -> seconds of each sample."""


@dataclass(frozen=True)
class Plan:
    """What is measured: payloads in words, layers by their channels, FLOPs of one call, words of a copy, repeats."""

    channels: Mapping[str, tuple[int, ...]]
    words: tuple[int, ...] = (2, 1_024, 16_384, 131_072, 1_048_576, 4_194_304)
    flops: float = 1.5e8
    copied: int = 8_388_608
    samples: int = 15
    layer_samples: int = 7


FULL = Plan(
    channels={
        "linear": (64, 512, 2048),
        "conv1x1": (16, 64, 256),
        "conv": (3, 16, 64, 256),
        "depthwise": (16, 64, 256),
    }
)
QUICK = Plan(
    words=(2, 1_024, 65_536),
    channels={"linear": (64,), "conv1x1": (16, 64), "conv": (16, 64), "depthwise": (64,)},
    flops=1e7,
    copied=1_048_576,
    samples=LEAST_SAMPLES,
    layer_samples=LEAST_SAMPLES,
)


def time_collectives(crew: Crew, *, words: Sequence[int], samples: int) -> Samples:
    """Seconds of each kind of collective at each payload, on one rank."""
    timed: Samples = {}
    for n in words:
        payload = torch.ones(max(crew.world, n // crew.world * crew.world))
        for kind, call in COLLECTIVES.items():
            timed[f"{kind} {n}"] = _timed(partial(call, payload, crew), samples, crew.barrier)
    return timed


def time_layers(crew: Crew, *, plan: Plan, threads: int, alone: bool) -> Samples:
    """Seconds per FLOP of each kind of layer at each number of channels, forward and backward, on one rank.

    With `alone` only rank 0 works, the others return at once.
    """
    if alone and crew.rank:
        return {}
    torch.set_num_threads(threads)
    try:
        timed: Samples = {}
        for kind, channels in plan.channels.items():
            for c in channels:
                forward, backward = _layer_samples(kind, c, plan, (lambda: None) if alone else crew.barrier)
                timed[f"{kind} {c} forward"], timed[f"{kind} {c} backward"] = forward, backward
        return timed
    finally:
        torch.set_num_threads(crew.threads)


def time_memory(crew: Crew, *, words: int, samples: int) -> Samples:
    """Seconds of a copy of `words` numbers, and of an operation on next to nothing, with all ranks at work."""
    source, few = torch.ones(words), torch.ones(8)
    target = torch.empty_like(source)
    return {
        "copy": _timed(lambda: target.copy_(source), samples, crew.barrier),
        "launch": [s / _LAUNCHES for s in _timed(lambda: [few + few for _ in range(_LAUNCHES)], samples, crew.barrier)],
    }


_LAUNCHES = 100
_WARM_UP = 3


def _exchange(payload: Tensor, crew: Crew) -> None:
    """Round a ring: each rank sends to the next one."""
    collectives.exchange(
        [((crew.rank + 1) % crew.world, payload)], [((crew.rank - 1) % crew.world, torch.empty_like(payload))]
    )


COLLECTIVES: dict[str, Callable[[Tensor, Crew], object]] = {
    "all_reduce": lambda payload, crew: collectives.all_reduce(payload),
    "all_gather": lambda payload, crew: collectives.all_gather(payload[: len(payload) // crew.world], 0),
    "reduce_scatter": lambda payload, crew: collectives.reduce_scatter(payload, 0),
    "all_to_all": lambda payload, crew: collectives.all_to_all(payload.chunk(crew.world)),
    "broadcast": lambda payload, crew: collectives.broadcast(payload, 0),
    "exchange": _exchange,
}


def _timed(call: Callable[[], object], samples: int, together: Callable[[], None]) -> list[float]:
    for _ in range(_WARM_UP):
        call()
    seconds = []
    for _ in range(samples):
        together()
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _layer_samples(
    kind: str, channels: int, plan: Plan, together: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Seconds per FLOP of forward and of backward, which has twice the FLOPs."""
    layer, side = _layer(kind, channels)
    per_picture = 2 * sum(weight.numel() for weight in layer.parameters()) * side * side
    batch = max(1, min(_MOST_PICTURES, round(plan.flops / per_picture)))
    shape = (batch, channels, side, side) if side > 1 else (batch, channels)
    inputs = torch.randn(shape, requires_grad=True)
    out = layer(inputs)
    given = torch.ones_like(out)

    def backward() -> object:
        return torch.autograd.grad(out, [inputs, *layer.parameters()], given, retain_graph=True)

    forward_s = _timed(lambda: layer(inputs), plan.layer_samples, together)
    backward_s = _timed(backward, plan.layer_samples, together)
    flops = per_picture * batch
    return [s / flops for s in forward_s], [s / (2 * flops) for s in backward_s]


_SIDE, _MOST_PICTURES = 16, 128
_FIRST_CHANNELS = 16


def _layer(kind: str, channels: int) -> tuple[nn.Module, int]:
    """A layer without bias from `channels` to as many (a first layer's few to 16), and its pictures' side."""
    if kind == "linear":
        return nn.Linear(channels, channels, bias=False), 1
    if kind == "conv1x1":
        return nn.Conv2d(channels, channels, 1, bias=False), _SIDE
    groups = channels if kind == "depthwise" else 1
    return nn.Conv2d(channels, max(channels, _FIRST_CHANNELS), 3, padding=1, groups=groups, bias=False), _SIDE
