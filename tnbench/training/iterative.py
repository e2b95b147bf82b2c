"""Compress a little, fine-tune, compress further: the ranks shrink step by step to the policy's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Part, Ranks, TrainingTools
from tnbench.training._epochs import evenly

if TYPE_CHECKING:
    from torch import nn

VERSION = 2

_FINENESS = 256


@dataclass(frozen=True)
class Options:
    """`steps` of compression; `epochs`: the settings' shared by all steps, or as many for each of them."""

    steps: int = 3
    epochs: Literal["total", "each"] = "total"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"training iterative: got steps = {self.steps}, wanted a whole number from 1 on")


def needs_baseline(options: Options) -> bool:
    """Yes: its weights are what is decomposed first."""
    return True


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """The policy chooses the final ranks on the baseline; then decompose, fine-tune and expand again, `steps` times.

    MUSCO (Gusak et al. 2019, arXiv:1903.09973): small losses that are mended at once cost less accuracy than a large
    one. Each step decomposes the dense weights that the factors of the step before stand for. Between the ranks at
    which a layer has as many weights as the dense one and the final ranks, step k of K takes the geometric mean of
    weights 1 - k/K and k/K, so that every step leaves about the same share. The accuracy before training is that of
    the final ranks at once, which is what the steps are to improve on.
    """
    settings, dense = tools.settings, tools.baseline()
    epochs = evenly(settings.epochs, options.steps) if options.epochs == "total" else [settings.epochs] * options.steps
    model = tools.compress(dense)
    tools.evaluate_before(model)
    parts = tools.parts(model)
    for step, own in enumerate(epochs, start=1):
        model = tools.compress(dense, ranks={part.name: between(part, step / options.steps) for part in parts})
        tools.fit(model, epochs=own, lr=settings.lr)
        if step < options.steps:
            dense = tools.expand(model)
    return model


def between(part: Part, done: float) -> Ranks:
    """Ranks on the way, from as many weights as the dense layer has (`done` = 0) to the final ones (1)."""
    places = (start / _FINENESS for start in range(_FINENESS))
    begin = next((place for place in places if part.count(_mean(part, place)) <= part.dense), 1.0)
    return _mean(part, begin + (1 - begin) * done)


def _mean(part: Part, done: float) -> Ranks:
    return tuple(
        round(float(most) ** (1 - done) * float(least) ** done)
        for most, least in zip(part.largest, part.ranks, strict=True)
    )
