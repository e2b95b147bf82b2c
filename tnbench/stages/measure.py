"""Measuring stage: what the finished network costs to store and to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import torch
from torch import nn

from tnbench.engine.evaluate import normalise
from tnbench.measure.clock import time_calls
from tnbench.measure.counts import count_macs, count_params, state_bytes
from tnbench.measure.memory import PeakMemory
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import Prepared

LATENCY_BATCH, THROUGHPUT_BATCH = 1, 128
WARM_UP_CALLS = 5
"""Forward passes that are not timed."""
_SAMPLES, _LEAST_S = 20, 0.1
_SLOW_S, _FEWEST_SAMPLES = 1.0, 6
"""A forward pass that takes longer, such as one of 128 large pictures on a CPU, is timed as often as a median needs."""


@dataclass(frozen=True)
class Measured:
    """Metrics and raw samples, by the names of the metric registry."""

    metrics: dict[str, float]
    samples: dict[str, list[float]] = field(default_factory=dict)
    threads: int = 0
    notes: Sequence[str] = ()


def measure_size(model: nn.Module, dense: nn.Module, in_shape: tuple[int, ...]) -> Measured:
    """Parameters, multiply-accumulates, FLOPs (two each) and bytes, beside the dense network's."""
    macs, macs_dense = count_macs(model, in_shape), count_macs(dense, in_shape)
    return Measured(
        {
            "params": count_params(model),
            "params_dense": count_params(dense),
            "macs": macs,
            "macs_dense": macs_dense,
            "flops": 2 * macs,
            "flops_dense": 2 * macs_dense,
            "model_bytes": state_bytes(model),
        }
    )


def measure_forward(prepared: Prepared, model: nn.Module) -> Measured:
    """Latency at batch 1 and throughput at batch 128: eval mode, the pictures on the device already.

    One process measures, with the threads of the parallel plug-in where that works in this process.
    """
    return in_process(prepared, lambda: _measure_here(prepared, model))


def _measure_here(prepared: Prepared, model: nn.Module) -> Measured:
    training = model.training
    model.eval()
    with torch.inference_mode(), PeakMemory(prepared.device) as peak:
        latency = _time_batch(prepared, model, LATENCY_BATCH)
        batch = _time_batch(prepared, model, THROUGHPUT_BATCH)
    model.train(training)
    samples = {
        "forward_ms": [1e3 * seconds for seconds in latency],
        "throughput": [THROUGHPUT_BATCH / seconds for seconds in batch],
    }
    metrics = {name: median(values) for name, values in samples.items()}
    return Measured({**metrics, "forward_peak_bytes": peak.bytes}, samples, torch.get_num_threads())


def _time_batch(prepared: Prepared, model: nn.Module, size: int) -> list[float]:
    test = prepared.pictures.test
    repeated = test[torch.arange(size) % len(test)].to(prepared.device)
    batch = normalise(repeated, prepared.normalisation, prepared.dtype)
    call = partial(model, batch)
    (first,) = time_calls(call, device=prepared.device, warmup=0, samples=1)
    warm_up, samples = (1, _FEWEST_SAMPLES) if first > _SLOW_S else (WARM_UP_CALLS, _SAMPLES)
    return time_calls(call, device=prepared.device, warmup=warm_up, samples=samples, least_s=_LEAST_S)
