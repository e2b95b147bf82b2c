"""Counting right answers is exact, and leaves the network as it was."""

import pytest
import torch
from torch import nn

from tnbench.core.errors import Diverged
from tnbench.core.protocols import Normalisation
from tnbench.engine.evaluate import count_correct, mode_of, predict

UNIT = Normalisation((0.0,), (1.0,))
CPU = torch.device("cpu")


class Brightest(nn.Module):
    """Scores of a picture (2, 1, 1) are its two pixels; in train mode it fails."""

    def forward(self, pictures):
        assert not self.training
        return pictures.flatten(1)


def count(model, pixels, labels, batch_size=500):
    pictures = torch.tensor(pixels, dtype=torch.uint8).view(-1, 2, 1, 1)
    return count_correct(
        model, pictures, torch.tensor(labels), UNIT, device=CPU, dtype=torch.float32, batch_size=batch_size
    )


@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_counts_every_picture_once(batch_size):
    pixels = [[9, 1], [1, 9], [2, 8], [7, 3], [6, 5]]
    assert count(Brightest(), pixels, [0, 1, 0, 0, 1], batch_size) == 3


@pytest.mark.parametrize("score", [torch.nan, torch.inf])
def test_a_score_that_is_not_finite_is_divergence(score):
    class Lost(nn.Module):
        def forward(self, pictures):
            return torch.full((len(pictures), 2), score)

    with pytest.raises(Diverged, match="scores are not finite"):
        count(Lost(), [[9, 1], [1, 9]], [0, 1])


@pytest.mark.parametrize("training", [True, False])
def test_modes_come_back_module_by_module(training):
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(Brightest(), nn.Dropout()))
    model.train(training)
    model[0].training = not training
    statistics = model[0].running_mean.clone()
    count(model, [[9, 1], [1, 9]], [0, 1])
    assert [module.training for module in model.modules()] == [training, not training, training, training, training]
    assert torch.equal(model[0].running_mean, statistics)


def test_modes_come_back_after_an_error():
    model = nn.Sequential(nn.Dropout()).train()

    def fail():
        with mode_of(model, training=False):
            assert not model[0].training
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert model[0].training


def test_weights_and_gradients_are_left_alone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count(model, [[9, 1], [1, 9]], [0, 1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_scores_are_those_of_every_picture_once_in_order():
    pixels = torch.arange(14, dtype=torch.uint8).view(7, 2, 1, 1)
    whole = predict(Brightest(), pixels, UNIT, device=CPU, dtype=torch.float64, batch_size=7)
    parts = predict(Brightest(), pixels, UNIT, device=CPU, dtype=torch.float64, batch_size=3)
    assert whole.dtype == torch.float32
    assert torch.equal(whole, parts)
    assert torch.allclose(whole, pixels.flatten(1) / 255)


def test_large_pictures_come_in_smaller_batches():
    sizes = []

    class Counting(nn.Module):
        def forward(self, pictures):
            sizes.append(len(pictures))
            return pictures.flatten(1)[:, :2]

    for n, side in ((150, 16), (50, 512)):
        pictures = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(n, 3, side, side)
        predict(Counting(), pictures, UNIT, device=CPU, dtype=torch.float32)
    assert sizes == [64, 64, 22, 21, 21, 8]
