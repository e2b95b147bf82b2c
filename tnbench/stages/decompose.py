"""Decomposition stage: choose ranks, factorise, swap the layers; timed, with the peak of its memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Ranks, Shape
from tnbench.core.registry import Bound
from tnbench.engine.applied import Functions, OnLayer, functions_of
from tnbench.engine.calibration import RIDGE
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.kernel_decay import kernel_sides
from tnbench.engine.parts import factor_names
from tnbench.engine.summarise import summarise
from tnbench.engine.summary import Summary
from tnbench.engine.swapped import Swapped
from tnbench.measure.clock import Elapsed, stopwatch
from tnbench.measure.memory import PeakMemory
from tnbench.stages.conditions import conditions_of
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import Prepared


@dataclass(frozen=True)
class Decomposition:
    """One compression of the network: the copy and its factors, its layers, seconds and bytes above the start.

    `names` are those of the parameters that are a layer's factors.
    """

    swapped: Swapped
    names: Mapping[str, tuple[str, ...]]
    summary: Summary
    seconds: float
    peak_bytes: int

    @property
    def model(self) -> nn.Module:
        return self.swapped.model

    @property
    def kernels(self) -> dict[str, Shape]:
        """Of the layers that a method was for (`kernel_decay.kernel_sides`)."""
        targets = self.swapped.targets.values()
        return kernel_sides({name: layer for target in targets for name, layer in target.layers.items()})


def decompose(
    prepared: Prepared,
    model: nn.Module,
    *,
    rescale: bool = False,
    ranks: Mapping[str, Ranks] | None = None,
    note: Callable[[str], None] = print,
) -> Decomposition:
    """Compress a copy of `model` as the case says, with its threads. Raises NotApplicable: the reason why it cannot be.

    `rescale` is for training from scratch; `ranks` take the place of those that the policy would choose. Errors of the
    layers are computed after the clock has stopped. `note` takes sentences that a reader of the record must know.
    """
    methods, policy = prepared.methods, prepared.plugins["rank"]
    conditions = replace(conditions_of(prepared, model, scratch=rescale, note=note), ranks=ranks)
    warm_up(methods, prepared.device)

    def work() -> tuple[Swapped, Elapsed, PeakMemory]:
        with PeakMemory(prepared.device) as peak, stopwatch(prepared.device) as elapsed:
            swapped = _swapped(model, methods, policy, conditions)
        return swapped, elapsed, peak

    swapped, elapsed, peak = in_process(prepared, work)
    if conditions.calibration is not None:
        note(
            f"solvers weighed errors by {len(conditions.calibration.pictures):,} training pictures "
            f"(digest {conditions.calibration.digest}), ridge {RIDGE:g}"
        )
    summary = summarise(model, swapped)
    print(summary)
    return Decomposition(swapped, factor_names(swapped), summary, elapsed.seconds, peak.bytes)


def _swapped(model: nn.Module, methods: Sequence[Bound], policy: Bound, conditions: Conditions) -> Swapped:
    """A glob or a table that does not fit the network is a case that means nothing, not a fault of the program."""
    try:
        return swap_layers(model, methods, policy, conditions)
    except UsageError as error:
        raise NotApplicable(str(error)) from None


def warm_up(methods: Sequence[Bound], device: torch.device) -> None:
    """Factorise tiny layers, so that no case is charged for what a solver imports or sets up at its first call."""
    for method in methods:
        if method.scope == "layer":
            for layer in (nn.Conv2d(4, 4, 3), nn.Linear(4, 4)):
                _warm_up(OnLayer(functions_of(method), "", layer.to(device)), functions_of(method))


def _warm_up(target: OnLayer, functions: Functions) -> None:
    if functions.refuses(target.layer) is None and target.largest:
        weight = cast(Tensor, target.layer.weight)
        weight.data = torch.linspace(-1, 1, weight.numel(), device=weight.device).view_as(weight).sin()
        try:
            target.factorise(tuple(1 for _ in target.largest), seed=0)
        except NotApplicable:
            return  # a data-aware solver without pictures has nothing to warm up
