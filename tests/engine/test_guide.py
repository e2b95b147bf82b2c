"""When the loop calls a guide, and what a guide can change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.protocols import Augmentation, Crew, Guide, Normalisation, Recipe
from tnbench.distributed.crew import alone
from tnbench.engine.loop import RankFit, fit

RECIPE = Recipe(epochs=2, lr=0.1, batch_size=10, momentum=0.9, weight_decay=0.0, seed=3)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def trained(model: nn.Module, guide: Guide | None) -> RankFit:
    generator = torch.Generator().manual_seed(1)
    return fit(
        model,
        torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8, generator=generator),
        torch.arange(20) % 2,
        normalisation=Normalisation((0.5,), (0.5,)),
        augmentation=Augmentation(),
        recipe=RECIPE,
        crew=alone("cpu"),
        dtype=torch.float32,
        guide=guide,
    )


class Witness(Guide):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def begin(self, model: nn.Module, crew: Crew) -> None:
        self.calls.append("begin")

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self.calls.append(f"begin_epoch {epoch} of {epochs}")
        return False

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        self.calls.append("loss")
        assert torch.equal(model(inputs), scores)
        assert len(labels) == len(inputs) == 10
        return loss

    def before_step(self, model: nn.Module) -> None:
        assert all(parameter.grad is not None for parameter in model.parameters())
        self.calls.append("before_step")

    def after_step(self, model: nn.Module) -> None:
        self.calls.append("after_step")

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        self.calls.append(f"end_epoch {epoch}")

    def told(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}


def test_each_moment_is_called_in_order() -> None:
    guide = Witness()
    run = trained(network(), guide)
    step = ["loss", "before_step", "after_step"]
    epochs = [[f"begin_epoch {epoch} of 2", *step, *step, f"end_epoch {epoch}"] for epoch in range(2)]
    assert guide.calls == ["begin", *epochs[0], *epochs[1]]
    assert run.told == {"calls": 17}


def test_a_guide_that_does_nothing_changes_nothing() -> None:
    plain, guided = trained(network(), None), trained(network(), Guide())
    assert plain.loss == guided.loss
    assert all(torch.equal(value, guided.state[name]) for name, value in plain.state.items())


class TenTimes(Guide):
    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        return 10 * loss


def test_the_loss_that_it_gives_is_descended_and_reported() -> None:
    assert trained(network(), TenTimes()).loss[0] > 5 * trained(network(), None).loss[0]


class OwnSteps(Guide):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def take(self, model: nn.Module, evaluate: Callable[[], Tensor], rate: float) -> Tensor | None:
        self.rates.append(rate)
        loss = evaluate()
        return loss if len(self.rates) % 2 else None


def test_steps_of_its_own_leave_the_optimiser_out() -> None:
    guide, before = OwnSteps(), network()
    trained(model := network(), guide)
    assert len(guide.rates) == 4
    assert not torch.equal(before[1].weight, model[1].weight)  # the optimiser took every second step
    assert guide.rates[1] == max(guide.rates)


class Swaps(Guide):
    def __init__(self) -> None:
        self.swapped: list[nn.Parameter] = []

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self.swapped.append(nn.Parameter(torch.zeros(2, 16)))
        model[1].weight = self.swapped[-1]
        return True


@pytest.mark.parametrize("epoch", [0, 1])
def test_parameters_that_it_puts_in_are_trained(epoch: int) -> None:
    guide = Swaps()
    trained(network(), guide)
    assert guide.swapped[epoch].any()
