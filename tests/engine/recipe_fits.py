"""A tiny fit that tests of recipes share."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import torch
from torch import nn

from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.distributed.crew import alone
from tnbench.engine.loop import RankFit, fit

# The loop collects garbage before it measures memory, and need not look at all that was imported each time.
gc.freeze()

RECIPE = Recipe(epochs=3, lr=0.05, batch_size=8, momentum=0.9, weight_decay=5e-4, seed=0)
HALF = Normalisation((0.5,), (0.5,))


def pictures(n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 1, 6, 6), dtype=torch.uint8, generator=generator), torch.arange(n) % 3


def network(dropout: float = 0.2) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(16, 3),
        )


def trained(model: nn.Module | None = None, recipe: dict[str, Any] | None = None, **more: Any) -> RankFit:
    given, labels = pictures()
    return fit(
        network() if model is None else model,
        given,
        labels,
        normalisation=HALF,
        recipe=dataclasses.replace(RECIPE, **(recipe or {})),
        **{"augmentation": Augmentation(crop=1), "crew": alone("cpu"), "dtype": torch.float32, **more},
    )


def same(one: RankFit, other: RankFit) -> bool:
    """To the last bit."""
    return one.loss == other.loss and all(torch.equal(value, other.state[name]) for name, value in one.state.items())
