"""ADMM: the dense weights come nearer to the low-rank set, and the loss that is descended has the penalty."""

import pytest
import torch
from torch import nn

from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.distributed.crew import alone
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.parts import WeightPart, parts_of
from tnbench.training.admm import Admm


def part_of(model: nn.Module) -> WeightPart:
    registry = Registry()
    swapped = swap_layers(
        model, [registry.bind("method", Atom("svd"))], registry.bind("rank", Atom("k2")), Conditions()
    )
    (part,) = parts_of(swapped, seed=0)
    return part


def lost(weight: torch.Tensor, rank: int) -> float:
    values = torch.linalg.svdvals(weight.detach())
    return float(values[rank:].norm() / values.norm())


def linear() -> nn.Linear:
    layer = nn.Linear(8, 6)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    return layer


def test_the_distance_to_the_low_rank_set_falls(digits):
    def errors(rho: str) -> tuple[float, float]:
        """What decomposing loses before and after, relative to the weight's norm."""
        _, tools = digits.run("svd[only=conv2]", f"admm[rho={rho},share=1]", epochs=6, lr=0.05, batch_size=8)
        path = tools.fits[0].told["distance"]
        assert len(path) == 6
        once, after = (made.summary.weight_error for made in tools.decompositions)
        assert rho == "1e-9" or path[-1] == pytest.approx(after, rel=0.05)
        return once, after

    before, plain = errors("1e-9")
    once, constrained = errors("1")
    assert once == before > 0.5
    assert constrained < before / 3
    assert constrained < plain / 3


def test_the_penalty_is_half_rho_times_the_squared_distance():
    model, scores = linear(), torch.zeros(1)
    guide = Admm([part_of(model)], rho=3.0)
    guide.begin(model, alone("cpu"))
    loss = guide.loss(model, scores, scores, scores, torch.tensor(1.0))
    left_out = torch.linalg.svdvals(model.weight.detach())[2:].square().sum()
    assert float(loss.detach()) == pytest.approx(1 + 1.5 * float(left_out), rel=1e-5)


def test_without_another_loss_the_weight_ends_in_the_set():
    """Descent on the penalty alone, epoch by epoch."""
    model, none = linear(), torch.zeros(1)
    guide = Admm([part_of(model)], rho=1.0)
    guide.begin(model, alone("cpu"))
    before = lost(model.weight, 2)
    for epoch in range(30):
        for _ in range(5):
            model.zero_grad()
            guide.loss(model, none, none, none, torch.zeros(())).backward()
            with torch.no_grad():
                model.weight -= 0.5 * model.weight.grad
        guide.end_epoch(model, epoch)
    assert lost(model.weight, 2) < 0.02 * before
    assert guide.told()["distance"][-1] < 0.02


def test_what_it_has_learnt_survives_a_resume():
    model = linear()
    guide, again = Admm([part_of(model)], rho=1.0), Admm([part_of(model)], rho=1.0)
    for one in (guide, again):
        one.begin(model, alone("cpu"))
    with torch.no_grad():
        model.weight += 0.1
    guide.end_epoch(model, 0)
    again.resume(model, guide.state())
    none = torch.zeros(1)
    assert torch.equal(*(one.loss(model, none, none, none, torch.zeros(())) for one in (guide, again)))
    assert again.told() == guide.told()
