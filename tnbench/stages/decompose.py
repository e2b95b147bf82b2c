"""Decomposition stage: choose ranks, factorise, swap the layers; timed, with the peak of its memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tnbench.core.registry import Bound
from tnbench.engine.compress import Summary, Swapped, summarise, swap_layers
from tnbench.measure.clock import Elapsed, stopwatch
from tnbench.measure.memory import PeakMemory
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import Prepared


@dataclass(frozen=True)
class Decomposition:
    """One compression of the network: the copy, its layers, seconds and bytes above the start."""

    model: nn.Module
    summary: Summary
    seconds: float
    peak_bytes: int


def decompose(prepared: Prepared, model: nn.Module, *, rescale: bool = False) -> Decomposition:
    """Compress a copy of `model` as the case says, with its threads. Raises NotApplicable: the reason why it cannot be.

    Errors of the layers are computed after the clock has stopped.
    """
    method, policy = prepared.plugins["method"], prepared.plugins["rank"]
    keep = prepared.plugins["model"].module.keep_dense(model)
    warm_up(method, prepared.device)

    def work() -> tuple[Swapped, Elapsed, PeakMemory]:
        with PeakMemory(prepared.device) as peak, stopwatch(prepared.device) as elapsed:
            swapped = swap_layers(model, method, policy, keep=keep, seed=prepared.job.case.seed, rescale=rescale)
        return swapped, elapsed, peak

    swapped, elapsed, peak = in_process(prepared, work)
    summary = summarise(model, swapped, method)
    print(summary)
    return Decomposition(swapped.model, summary, elapsed.seconds, peak.bytes)


def warm_up(method: Bound, device: torch.device) -> None:
    """Factorise tiny layers, so that no case is charged for what a solver imports or sets up at its first call."""
    for layer in (nn.Conv2d(4, 4, 3), nn.Linear(4, 4)):
        if method.module.refuses(layer) is None:
            weight = torch.linspace(-1, 1, layer.weight.numel(), device=device).view_as(layer.weight).sin()
            ranks = tuple(1 for _ in method.module.largest_ranks(tuple(weight.shape)))
            method.module.factorise(weight, ranks, seed=0, options=method.options)
