"""One training step: what it moves, and that the loop's numbers are its numbers."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.distributed.crew import alone
from tnbench.engine.batches import Batches, batches, batches_per_epoch
from tnbench.engine.loop import fit
from tnbench.engine.optimiser import optimiser_for
from tnbench.engine.step import Step

RECIPE = Recipe(epochs=1, lr=0.05, batch_size=8, momentum=0.9, weight_decay=5e-4, seed=0)
HALF = Normalisation((0.5,), (0.5,))


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


@pytest.fixture
def data() -> Batches:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(256, (30, 1, 6, 6), dtype=torch.uint8, generator=generator)
    return Batches(pictures, torch.arange(30) % 2, HALF, Augmentation(), torch.float32)


def test_steps_one_by_one_give_what_the_loop_gives(network: nn.Module, data: Batches) -> None:
    looped, crew = copy.deepcopy(network), alone("cpu")
    fitted = fit(
        looped,
        data.pictures,
        data.labels,
        normalisation=HALF,
        augmentation=data.augmentation,
        recipe=RECIPE,
        crew=crew,
        dtype=torch.float32,
    )
    step = Step(network, network, optimiser_for(network, RECIPE), data, RECIPE, crew)
    losses = [step(batch, epoch=0, number=n) for n, batch in enumerate(batches(30, RECIPE, epoch=0))]
    assert sum(losses).item() / 30 == pytest.approx(fitted.loss[0])
    for name, value in network.state_dict().items():
        assert torch.equal(value, looped.state_dict()[name])


def test_the_loss_is_summed_over_the_rank_s_own_share(network: nn.Module, data: Batches) -> None:
    batch = next(batches(30, RECIPE, epoch=0))
    losses = []
    for rank in range(2):
        model = copy.deepcopy(network)
        crew = dataclasses.replace(alone("cpu"), rank=rank, world=2)
        losses.append(Step(model, model, optimiser_for(model, RECIPE), data, RECIPE, crew)(batch, epoch=0, number=0))
    whole = Step(network, network, optimiser_for(network, RECIPE), data, RECIPE, alone("cpu"))(batch, epoch=0, number=0)
    assert sum(losses).item() == pytest.approx(whole.item(), rel=1e-5)


def test_weight_decay_is_for_weights_and_not_for_biases(network: nn.Module) -> None:
    weights, others = optimiser_for(network, RECIPE).param_groups
    assert {parameter.ndim for parameter in weights["params"]} == {2, 4}
    assert {parameter.ndim for parameter in others["params"]} == {1}
    assert (weights["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)


def test_batches_take_every_picture_once_in_nearly_equal_parts() -> None:
    parts = list(batches(30, RECIPE, epoch=3))
    assert sorted(torch.cat(parts).tolist()) == list(range(30))
    assert len(parts) == batches_per_epoch(30, RECIPE) == 4
    assert {len(part) for part in parts} == {7, 8}
