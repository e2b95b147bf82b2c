"""Thin networks are what the model builds, or a reason."""

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.methods import thin
from tnbench.models import resnet


def test_it_is_what_rebuild_gives_for_its_share_of_the_width() -> None:
    asked: list[float] = []

    def rebuild(width: float) -> nn.Module:
        asked.append(width)
        return nn.Linear(1, 1)

    model = nn.Linear(2, 2)
    steps = thin.widths(model)
    for width in (1, steps // 2, steps):
        assert isinstance(thin.narrowed(model, width, seed=0, options=None, rebuild=rebuild), nn.Linear)
    assert asked == [1 / steps, 0.5, 1.0]
    assert thin.refuses_network(model) is None


def test_half_a_residual_network_has_about_a_quarter_of_the_weights() -> None:
    def rebuild(width: float) -> nn.Module:
        return resnet.narrower("resnet8", None, (3, 32, 32), 10, width)

    full, half = (thin.narrowed(nn.Identity(), width, seed=0, options=None, rebuild=rebuild) for width in (256, 128))
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (full, half)]
    assert counts[0] == 75_290
    assert counts[0] / counts[1] == pytest.approx(4, rel=0.05)
    assert half(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_without_random_weights_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="thin starts from random weights; take training scratch"):
        thin.narrowed(nn.Linear(2, 2), 1, seed=0, options=None, rebuild=None)
