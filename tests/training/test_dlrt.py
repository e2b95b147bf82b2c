"""Dynamical low-rank training: factors stay orthonormal, ranks adapt, and the case ends at the ranks reached."""

from functools import partial

import pytest
import torch
from torch import nn

from tnbench.core.errors import Diverged
from tnbench.core.grammar import Atom
from tnbench.core.registry import Registry
from tnbench.distributed.crew import alone
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.parts import parts_of
from tnbench.training._manifolds import OnManifolds
from tnbench.training.dlrt import adaptive


def regression(tau: float) -> tuple[nn.Linear, OnManifolds, list[int]]:
    """Least squares towards a matrix of rank 3 from a point of rank 6: the network, its guide and the ranks' path."""
    registry, generator = Registry(), torch.Generator().manual_seed(0)
    model = nn.Linear(20, 16, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(16, 20, generator=generator))
    target = torch.randn(16, 3, generator=generator) @ torch.randn(3, 20, generator=generator)
    bound = registry.bind("method", Atom("svd")), registry.bind("rank", Atom("k6"))
    parts = parts_of(swap_layers(model, [bound[0]], bound[1], Conditions()), seed=0)
    guide = OnManifolds(parts, partial(adaptive, tau=tau))
    guide.begin(model, alone("cpu"))
    path = []
    for _ in range(60):
        with torch.no_grad():
            model.weight -= 0.2 * (model.weight - target)
        guide.after_step(model)
        path.append(guide.points[""].ranks[0])
    assert float((model.weight - target).detach().norm() / target.norm()) < 2 * tau + 1e-4
    return model, guide, path


def test_the_rank_falls_to_that_of_the_solution():
    _, _, path = regression(tau=0.05)
    assert path[0] == 6
    assert path[-1] == 3


def test_without_tolerance_ranks_stay():
    assert set(regression(tau=0.0)[2]) == {6}


def test_a_step_out_of_the_numbers_is_divergence_and_names_the_layer():
    model, guide, _ = regression(tau=0.05)
    with torch.no_grad():
        model.weight[0, 0] = float("inf")
    with pytest.raises(Diverged, match="is not finite in epoch 1; take a lower rate"):
        guide.after_step(model)


def test_bases_stay_orthonormal_and_the_weight_is_theirs():
    model, guide, path = regression(tau=0.05)
    (point,) = guide.points.values()
    for basis in point.bases:
        assert torch.allclose(basis.T @ basis, torch.eye(path[-1]).double(), atol=1e-10)
    assert torch.allclose(point.tensor.float(), model.weight.detach(), atol=1e-6)


def test_a_case_ends_at_the_ranks_reached_and_tells_the_path(digits):
    model, tools = digits.run("svd", "dlrt[tau=0.4]")
    path = tools.fits[0].told["ranks"]
    first, last = tools.rank_path
    assert len(path) == 3
    assert last == path[-1]
    assert all(last[layer] < first[layer] for layer in first)
    assert tools.decompositions[-1].summary.weight_error < 1e-5
    assert model is tools.decompositions[-1].model


def test_the_policys_ranks_are_the_most(digits):
    _, tools = digits.run("tucker2", "dlrt[start=baseline,tau=0]")
    assert tools.rank_path[0] == tools.rank_path[1]
