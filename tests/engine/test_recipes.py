"""What each setting of a recipe changes in a training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from recipe_fits import RECIPE, network, pictures, same, trained
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Guide
from tnbench.engine.loop import Watched

ONE_STEP = {"epochs": 1, "batch_size": 30, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}


def linear() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


def moved(recipe: dict[str, Any]) -> Tensor:
    """By how much one step moves the weights of a linear network."""
    model = linear()
    before = model[1].weight.detach().clone()
    trained(model, recipe)
    return model[1].weight.detach() - before


def test_smoothed_labels_give_the_smoothed_loss() -> None:
    model = linear()
    given, labels = pictures()
    wanted = functional.cross_entropy(model(given / 127.5 - 1), labels, label_smoothing=0.3).item()
    run = trained(model, {**ONE_STEP, "label_smoothing": 0.3}, augmentation=Augmentation())
    assert run.loss == pytest.approx([wanted], rel=1e-5)


def test_a_clipped_gradient_has_the_norm_asked_for_and_a_short_one_is_left_alone() -> None:
    plain, short = moved(ONE_STEP), moved({**ONE_STEP, "clip": 1e-3})
    model = linear()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trained(model, {**ONE_STEP, "clip": 1e-3})
    steps = [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]
    length = torch.cat([step.flatten() for step in steps]).norm().item()
    assert length == pytest.approx(RECIPE.lr * 1e-3, rel=1e-3)
    assert functional.cosine_similarity(short.flatten(), plain.flatten(), dim=0) > 0.9999
    assert torch.equal(moved({**ONE_STEP, "clip": 1e6}), plain)


def test_adamw_moves_every_weight_by_the_rate_at_its_first_step() -> None:
    assert torch.allclose(moved({**ONE_STEP, "optimiser": "adamw"}).abs(), torch.tensor(RECIPE.lr), rtol=1e-3)


def test_the_schedule_is_the_one_asked_for() -> None:
    assert torch.allclose(moved({**ONE_STEP, "schedule": "cosine"}), moved(ONE_STEP) / 2, atol=1e-6)


def test_bfloat16_computes_nearly_the_same_and_leaves_weights_in_full() -> None:
    plain, low = trained(), trained(recipe={"amp": True})
    assert low.loss != plain.loss
    assert low.loss == pytest.approx(plain.loss, rel=0.05)
    assert {value.dtype for value in low.state.values()} == {torch.float32, torch.int64}


def test_channels_last_is_another_layout_of_the_same_numbers() -> None:
    model = network(dropout=0.0)  # whose draws follow the order in memory
    plain, last = trained(network(dropout=0.0)), trained(model, {"channels_last": True})
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert last.loss == pytest.approx(plain.loss, rel=1e-4)


class Notes(Guide):
    """Every state of the network after a step."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def begin(self, model: nn.Module, crew: Any) -> None:
        self.states.append(copy.deepcopy(model.state_dict()))

    def after_step(self, model: nn.Module) -> None:
        self.states.append(copy.deepcopy(model.state_dict()))


def average_of(states: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    found = copy.deepcopy(states[0])
    for step, state in enumerate(states[1:]):
        kept = min(decay, (1 + step) / (10 + step))
        for name, value in state.items():
            found[name] = kept * found[name] + (1 - kept) * value if value.is_floating_point() else value
    return found


def test_the_running_average_is_what_is_given_back_and_training_does_not_see_it() -> None:
    model, notes = network(), Notes()
    run, plain = trained(model, {"ema": 0.7}, guide=notes), trained()
    assert run.loss == plain.loss
    for name, value in average_of(notes.states, 0.7).items():
        torch.testing.assert_close(run.state[name], value)
        torch.testing.assert_close(model.state_dict()[name], value)
    assert run.state["1.num_batches_tracked"] == plain.state["1.num_batches_tracked"]


def test_the_curve_is_that_of_the_average_and_changes_nothing() -> None:
    given, labels = pictures()
    watched = trained(recipe={"ema": 0.9}, watched=Watched(given, labels))
    assert same(watched, trained(recipe={"ema": 0.9}))
    model = network()
    model.load_state_dict(watched.state)
    right = (model.eval()(given / 127.5 - 1).argmax(1) == labels).sum().item()
    assert len(watched.curve) == 3
    assert watched.curve[-1] == pytest.approx(100 * right / len(labels))
    assert trained().curve == []


def test_waiting_is_told_epoch_by_epoch() -> None:
    assert trained().wait_s == [0.0, 0.0, 0.0]


class OwnSteps(Guide):
    def take(self, model: nn.Module, evaluate: Callable[[], Tensor], rate: float) -> Tensor | None:
        return evaluate()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [({"ema": 0.9}, "ema = 0.9 is for an optimiser's steps, .* leave ema at 0"), ({"clip": 1.0}, "clip = 1.0 is for")],
)
def test_settings_of_the_optimiser_are_refused_where_a_training_takes_its_own_steps(
    recipe: dict[str, Any], said: str
) -> None:
    with pytest.raises(NotApplicable, match=said):
        trained(recipe=recipe, guide=OwnSteps())


@pytest.mark.slow
def test_a_compiled_network_learns_the_same() -> None:
    plain, built = trained(linear()), trained(linear(), {"compile": True})
    assert built.loss == pytest.approx(plain.loss, rel=1e-4)
    assert built.state.keys() == plain.state.keys()
