"""A small training that tests run alone and over ranks, to be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Augmentation, Crew, Normalisation, Recipe
from tnbench.core.registry import Bound, Registry
from tnbench.distributed.collectives import counting
from tnbench.distributed.mesh import bind_mesh
from tnbench.engine.loop import fit

RECIPE = Recipe(epochs=3, lr=0.02, batch_size=16, momentum=0.9, weight_decay=1e-3, seed=3)
PICTURES = 53  # global batches of 14, 13, 13 and 13 pictures, so that shares are uneven
SIDE, CHANNELS, CLASSES = 8, 2, 3


class Trained(NamedTuple):
    loss: list[float]
    state: dict[str, Tensor]
    own_state: dict[str, Tensor]
    notes: list[str]
    words: int


def network(batch_norm: bool) -> nn.Module:
    """Convolutions, one of them a chain of factors, and a linear layer; no bias goes into a BatchNorm.

    Such a bias has a gradient of rounding errors, which AdamW makes steps of.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        bias = not batch_norm
        first = nn.Sequential(nn.Conv2d(CHANNELS, 4, 3, bias=bias), _between(4, batch_norm), nn.ReLU())
        chain = nn.Sequential(nn.Conv2d(4, 3, 1, bias=False), nn.Conv2d(3, 5, 3, padding=1, bias=bias))
        last = [_between(5, batch_norm), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(180, CLASSES)]
        return nn.Sequential(first, chain, *last)


def _between(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


def train(crew: Crew, model: nn.Module, recipe: Recipe = RECIPE, **more: Any) -> Trained:
    """Some epochs in float64. `own_state` is what the model holds on this rank in the end."""
    crew = dataclasses.replace(crew)
    drawn = torch.Generator().manual_seed(2)
    with counting() as counted:
        run = fit(
            model,
            torch.randint(0, 256, (PICTURES, CHANNELS, SIDE, SIDE), generator=drawn, dtype=torch.uint8),
            torch.randint(0, CLASSES, (PICTURES,), generator=drawn),
            normalisation=Normalisation((0.5, 0.4), (0.2, 0.3)),
            augmentation=Augmentation(crop=1, flip=True),
            recipe=recipe,
            crew=crew,
            dtype=torch.float64,
            **more,
        )
    own = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return Trained(run.loss, run.state, own, list(crew.notes), counted.words)


def bound(text: str) -> Bound:
    """The plug-in that the parallel axis of a case names so, or the mesh."""
    parts = [Registry().bind("parallel", atom) for atom in parse_part("parallel", text)]
    return parts[0] if len(parts) == 1 else bind_mesh(parts)


def spread_as(text: str, crew: Crew) -> Crew:
    """`crew`, whose ranks stay, as one of `text`; its notes are its own."""
    fresh = dataclasses.replace(crew, notes=[])
    plugin = bound(text)
    spread: Callable[..., Crew] = plugin.module.spread
    return spread(fresh, None, plugin.options)


def check_same(got: Trained, wanted: Trained, tolerance: float = 1e-10) -> None:
    """AssertionError unless losses and weights agree, and something was learnt."""
    assert got.loss == pytest.approx(wanted.loss, rel=tolerance)
    assert got.loss[-1] < got.loss[0], "nothing was learnt, so nothing was compared"
    assert got.state.keys() == wanted.state.keys()
    for name, weights in wanted.state.items():
        difference = (got.state[name] - weights).abs().max().item()
        assert difference <= tolerance * weights.abs().max().item() + 1e-14, f"{name} differs by {difference:.1e}"
