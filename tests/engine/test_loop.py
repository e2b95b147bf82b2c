"""The training loop: what it learns, what it keeps fixed, what it refuses."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.protocols import Augmentation, Crew, Normalisation, Recipe
from tnbench.engine.batches import batches
from tnbench.engine.loop import WARM_UP_STEPS, fit
from tnbench.engine.schedule import one_cycle

CPU = torch.device("cpu")
HALF = Normalisation((0.5,), (0.5,))
RECIPE = Recipe(epochs=2, lr=0.05, batch_size=8, momentum=0.9, weight_decay=5e-4, seed=0)


ALONE = Crew(0, 1, CPU, 1, lambda model: model, lambda: None)
SHIFTED = Augmentation(crop=1)


def data(n=60, side=8):
    """Two classes: bright and dark pictures."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % 2
    noise = torch.randint(120, (n, 1, side, side), generator=generator)
    return (noise + 130 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(36, 2),
        )


def trained(model, *, pictures=None, recipe=RECIPE, crew=ALONE, dtype=torch.float32, augmentation=SHIFTED):
    images, labels = pictures or data()
    return fit(
        model,
        images,
        labels,
        normalisation=HALF,
        augmentation=augmentation,
        recipe=recipe,
        crew=crew,
        dtype=dtype,
    )


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns():
    run = trained(network(), recipe=replace(RECIPE, epochs=8))
    assert len(run.loss) == len(run.epoch_s) == 8
    assert run.loss[-1] < 0.2 < run.loss[0]


def test_the_same_recipe_gives_the_same_bits_whatever_the_global_generator():
    torch.manual_seed(1)
    first = trained(network())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = trained(network())
    assert same(first.state, second.state)
    assert first.loss == second.loss
    assert torch.equal(torch.get_rng_state(), state), "the global generator moved"


def test_another_seed_gives_another_order():
    assert not same(trained(network()).state, trained(network(), recipe=replace(RECIPE, seed=1)).state)


def test_the_state_is_a_copy_of_the_network_trained_in_place():
    model = network()
    run = trained(model)
    assert same(run.state, model.state_dict())
    model[0].weight.data.zero_()
    assert run.state["0.weight"].abs().sum() > 0


def test_no_epochs_no_change():
    model = network()
    before = copy.deepcopy(model.state_dict())
    run = trained(model, recipe=replace(RECIPE, epochs=0))
    assert same(run.state, before)
    assert (run.loss, run.epoch_s, run.step_s, run.peak_bytes) == ([], [], [], 0)


def test_modes_come_back():
    model = network().train()
    model[1].eval()
    trained(model)
    assert [module.training for module in model] == [True, False, True, True, True, True]


def test_float64_throughout():
    run = trained(network(), dtype=torch.float64)
    assert run.state["0.weight"].dtype == torch.float64
    assert not torch.equal(run.state["0.weight"].float().double(), run.state["0.weight"])


@pytest.mark.parametrize(("n", "batch_size"), [(60, 8), (17, 16), (5, 100), (9, 8), (1, 1), (128, 128)])
def test_batches_take_every_picture_once_and_leave_no_small_rest(n, batch_size):
    parts = list(batches(n, replace(RECIPE, batch_size=batch_size), epoch=0))
    sizes = [len(part) for part in parts]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))
    assert len(sizes) == math.ceil(n / batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_every_epoch_has_its_own_order():
    first, second = (torch.cat(list(batches(60, RECIPE, epoch))) for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_a_rest_of_one_does_not_trouble_batch_norm():
    model = nn.Sequential(nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    run = trained(model, pictures=data(9), augmentation=Augmentation())
    assert all(map(math.isfinite, run.loss))


@pytest.mark.parametrize(("n", "batch_size", "epochs"), [(60, 4, 2), (8, 4, 1), (4, 4, 1)])
def test_steps_are_timed_after_a_warm_up(n, batch_size, epochs):
    run = trained(network(), pictures=data(n), recipe=replace(RECIPE, batch_size=batch_size, epochs=epochs))
    steps = epochs * n // batch_size
    assert len(run.step_s) == steps - min(WARM_UP_STEPS, steps // 2)
    assert 0 < sum(run.step_s) < sum(run.epoch_s)


def test_peak_memory_holds_at_least_gradients_and_momentum():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 200_000, bias=False), nn.AvgPool1d(100_000), nn.Flatten())
    run = trained(model, pictures=data(4), recipe=replace(RECIPE, epochs=1), augmentation=Augmentation())
    assert run.peak_bytes > 2 * 64 * 200_000 * 4


def test_the_loss_is_the_mean_over_pictures():
    pictures, labels = data(45)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    wanted = functional.cross_entropy(model(pictures.double() / 127.5 - 1), labels).item()
    recipe = replace(RECIPE, epochs=1, batch_size=20, lr=1e-12)
    run = trained(model, pictures=(pictures, labels), recipe=recipe, dtype=torch.float64, augmentation=Augmentation())
    assert run.loss == pytest.approx([wanted], rel=1e-6)


def test_one_step_is_one_step_of_nesterov_sgd():
    pictures, labels = data(16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    weight, bias = (parameter.detach().clone() for parameter in model.parameters())
    functional.cross_entropy(model(pictures.double() / 127.5 - 1), labels).backward()
    recipe = Recipe(epochs=1, lr=0.1, batch_size=16, momentum=0.8, weight_decay=0.01, seed=0)
    weight_step, bias_step = (
        1.8 * (g + d) for g, d in ((model[1].weight.grad, 0.01 * weight), (model[1].bias.grad, 0))
    )
    model.zero_grad()
    trained(model, pictures=(pictures, labels), recipe=recipe, dtype=torch.float64, augmentation=Augmentation())
    rate = one_cycle(0, 1, 0.1)
    torch.testing.assert_close(model[1].weight.data, weight - rate * weight_step)
    torch.testing.assert_close(model[1].bias.data, bias - rate * bias_step, msg="biases do not decay")


def test_no_momentum_is_plain_sgd():
    run = trained(network(), recipe=replace(RECIPE, momentum=0.0))
    assert all(map(math.isfinite, run.loss))


def test_a_loss_that_is_not_finite_is_told_with_its_epoch():
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) in epoch 1 of 2 at a peak rate of 1e\+30"):
        trained(network(), recipe=replace(RECIPE, lr=1e30))


def test_more_ranks_than_pictures_in_a_batch_are_refused():
    with pytest.raises(NotApplicable, match="a batch of 2 pictures cannot be shared by 3 processes"):
        trained(network(), recipe=replace(RECIPE, batch_size=2), crew=replace(ALONE, world=3))


def test_shares_of_uneven_ranks_average_to_the_global_gradient(monkeypatch):
    """Three ranks, one after the other, each with a step of plain SGD: their mean is the single process's step."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: None)
    recipe = Recipe(epochs=1, lr=0.1, batch_size=8, momentum=0.0, weight_decay=0.0, seed=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()

    def step(crew):
        copied = copy.deepcopy(model)
        trained(copied, pictures=data(8), recipe=recipe, crew=crew, dtype=torch.float64)
        return copied[1].weight.data - model[1].weight.data

    shares = torch.stack([step(replace(ALONE, rank=rank, world=3)) for rank in range(3)])
    torch.testing.assert_close(shares.mean(0), step(ALONE))


def test_only_rank_zero_sends_weights_back(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: None)
    assert trained(network(), crew=replace(ALONE, rank=1, world=2)).state == {}


def test_the_model_that_learns_is_the_wrapped_one():
    seen = []

    def wrap(model):
        seen.append(model)
        return model

    model = network()
    trained(model, crew=replace(ALONE, wrap=wrap))
    assert seen == [model]


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing():
    rates = [one_cycle(step, 1000, 0.1) for step in range(1000)]
    top = max(range(1000), key=rates.__getitem__)
    assert top in (299, 300)
    assert rates[top] == pytest.approx(0.1, rel=2e-3)
    assert rates[:300] == sorted(rates[:300])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[0] == pytest.approx(0.004, rel=0.05)
    assert 0 < rates[-1] < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_one_cycle_of_few_steps_stays_between_nothing_and_the_peak(steps):
    assert all(0 < one_cycle(step, steps, 0.1) <= 0.1 for step in range(steps))
