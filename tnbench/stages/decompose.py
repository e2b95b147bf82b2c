"""Decomposition stage: choose ranks, factorise, swap the layers; timed, with the peak of its memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tnbench.engine.compress import Summary, compress_network
from tnbench.measure.clock import stopwatch
from tnbench.measure.memory import PeakMemory
from tnbench.stages.prepare import Prepared


@dataclass(frozen=True)
class Decomposition:
    """One compression of the network: the copy, its layers, seconds and bytes above the start."""

    model: nn.Module
    summary: Summary
    seconds: float
    peak_bytes: int


def decompose(prepared: Prepared, model: nn.Module, *, rescale: bool = False) -> Decomposition:
    """Compress a copy of `model` as the case says. Raises NotApplicable with the reason why it cannot be."""
    plugins = prepared.plugins
    with PeakMemory(prepared.device) as peak, stopwatch(prepared.device) as elapsed:
        compressed, summary = compress_network(
            model,
            plugins["method"],
            plugins["rank"],
            keep=plugins["model"].module.keep_dense(model),
            seed=prepared.job.case.seed,
            rescale=rescale,
        )
    return Decomposition(compressed, summary, elapsed.seconds, peak.bytes)
