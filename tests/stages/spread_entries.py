"""What ranks run in tests of the measuring over ranks."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Crew, Recipe
from tnbench.core.settings import Settings
from tnbench.distributed.collectives import all_reduce
from tnbench.engine.applied import Functions, OnLayer
from tnbench.methods import svd
from tnbench.stages.spread import Work, measure_rank
from tnbench.stages.spread_decomposition import Layers, measure_decomposition

BATCH, CLASSES = 8, 3


class Summed(nn.Module):
    """A network whose scores are summed over the ranks, `times` of them in every forward pass."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.inner(inputs)
        return scores + all_reduce(scores.detach())


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, CLASSES))


def small_work(*, optimiser: str = "sgd") -> Work:
    recipe = Recipe(1, 0.5, BATCH, 0.9, 5e-4, 0, optimiser=optimiser)
    labels = torch.arange(BATCH) % CLASSES
    return Work(small_network(), torch.randn(BATCH, 1, 4, 4), labels, recipe, Settings(device="cpu"))


def measured(crew: Crew, *, optimiser: str) -> dict[str, Any]:
    """What a rank measures of the small network, and what became of its weights and of the global generator."""
    work = small_work(optimiser=optimiser)
    before = [parameter.detach().clone() for parameter in work.model.parameters()]
    drawn = torch.get_rng_state()
    found = measure_rank(dataclasses.replace(crew, wrap=Summed), work=work)
    moved = max(float((then - now).abs().max()) for then, now in zip(before, work.model.parameters(), strict=True))
    return {"found": found, "moved": moved, "generator_kept": torch.equal(drawn, torch.get_rng_state())}


def decomposed(crew: Crew) -> Any:
    """Times of three layers at rank 2, which two ranks share."""
    torch.manual_seed(1)
    functions = Functions(svd, svd.Options())
    layers = [OnLayer(functions, str(side), nn.Linear(side, side)) for side in (8, 16, 24)]
    return measure_decomposition(crew, Layers(tuple((layer, (2,)) for layer in layers), 0))
