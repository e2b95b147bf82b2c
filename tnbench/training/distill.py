"""Fine-tune with the trained dense network as a teacher, whose scores are targets beside the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, Guide, TrainingTools

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1


@dataclass(frozen=True)
class Options:
    """`temperature` of both softmaxes; `weight` of the teacher's part of the loss, the labels' is what is left of 1."""

    temperature: float = 4.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UsageError(f"training distill: got temperature = {self.temperature:g}, wanted a number above 0")
        if not 0 < self.weight <= 1:
            raise UsageError(f"training distill: got weight = {self.weight:g}, wanted 0 < weight <= 1")


def needs_baseline(options: Options) -> bool:
    """Yes: it is the teacher, and alone also what is decomposed."""
    return True


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """As fine-tuning, with the teacher's part in the loss: `settings.epochs` at a peak of `settings.lr`."""
    model = tools.compress(tools.baseline())
    tools.evaluate_before(model)
    tools.fit(model, epochs=tools.settings.epochs, lr=tools.settings.lr, guide=guide(tools, model, options))
    return model


def guide(tools: TrainingTools, model: nn.Module, options: Options) -> Guide:
    """The baseline as the teacher of `model`."""
    return Distill(tools.baseline(), options.temperature, options.weight)


class Distill(Guide):
    """The loss becomes (1 - w) loss + w T² KL(softmax(t / T) || softmax(s / T)), with the scores t of a teacher.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015, arXiv:1503.02531); T² keeps the
    gradient's size whatever the temperature. The teacher sees the same augmented pictures, in eval mode.
    """

    def __init__(self, teacher: nn.Module, temperature: float, weight: float) -> None:
        self.teacher = teacher.cpu().eval().requires_grad_(False)
        self._temperature, self._weight = temperature, weight

    @property
    def shardable(self) -> bool:
        return True

    def begin(self, model: nn.Module, crew: Crew) -> None:
        self.teacher.to(crew.device)

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(inputs) / self._temperature, dim=1)
        got = functional.log_softmax(scores / self._temperature, dim=1)
        apart = functional.kl_div(got, wanted, reduction="batchmean", log_target=True)
        return (1 - self._weight) * loss + self._weight * self._temperature**2 * apart
