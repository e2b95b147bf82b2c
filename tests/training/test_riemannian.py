"""Riemannian training: iterates stay on the manifold, and steps are tangent to it."""

import pytest
import torch

from tnbench.core.errors import NotApplicable
from tnbench.linalg import tt_manifold, tucker_manifold
from tnbench.linalg.tt_manifold import TrainPoint
from tnbench.training import riemannian
from tnbench.training._manifolds import OnManifolds


@pytest.mark.parametrize("method", ["svd", "tucker", "tt"])
def test_the_network_ends_at_its_ranks_without_a_loss(digits, method):
    _, tools = digits.run(method, "riemannian")
    start, end = tools.rank_path
    assert start == end
    assert all(epoch == end for epoch in tools.fits[0].told["ranks"])
    assert tools.decompositions[-1].summary.weight_error < 1e-5
    assert tools.decompositions[0].summary.weight_error > 0.1
    losses = tools.fits[0].loss
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("changed", [{"optimiser": "adamw", "lr": 1e-3}, {"clip": 0.1}, {"decay_on": "kernel"}])
@pytest.mark.parametrize("training", ["riemannian", "dlrt[tau=0]"])
def test_what_shapes_the_optimisers_step_leaves_weights_on_the_manifold(digits, training, changed):
    _, tools = digits.run("svd[only=conv2]", training, epochs=1, **changed)
    _, plain = digits.run("svd[only=conv2]", training, epochs=1)
    assert tools.decompositions[-1].summary.weight_error < 1e-5
    assert tools.fits[0].loss[0] != plain.fits[0].loss[0] or changed == {"decay_on": "kernel"}


@pytest.mark.parametrize("training", ["riemannian", "dlrt", "riemannian+distill"])
def test_an_average_would_lie_beside_the_manifold(digits, training):
    with pytest.raises(NotApplicable, match=r"ema = 0.9 averages the weights .* lies beside it; leave ema at 0"):
        digits.run("svd[only=conv2]", training, ema=0.9)


def test_every_iterate_is_on_the_manifold_and_every_step_tangent(digits, monkeypatch):
    seen = {"points": 0}

    def along(part, point, step):
        if isinstance(point, TrainPoint):
            projected = tt_manifold.tangent_tensor(point, tt_manifold.tangent(point, step))
            again = tt_manifold.tangent_tensor(point, tt_manifold.tangent(point, projected))
        else:
            projected = tucker_manifold.tangent(point, step)
            again = tucker_manifold.tangent(point, projected)
        assert torch.allclose(projected, again, atol=1e-10)
        assert float(projected.norm()) <= float(step.norm())
        after = riemannian.along(part, point, step)
        assert tuple(after.ranks)[: len(part.ranks)] == part.ranks
        seen["points"] += 1
        return after

    monkeypatch.setattr(riemannian, "OnManifolds", lambda parts, move: OnManifolds(parts, along))
    digits.run("tt[only=conv2]", "riemannian", epochs=2)
    digits.run("tucker2[only=conv2]", "riemannian", epochs=2)
    assert seen["points"] == 2 * 2 * 2
