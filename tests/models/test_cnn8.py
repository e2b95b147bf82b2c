"""The small CNN fits small pictures, and learns the digits."""

from pathlib import Path

import pytest
import torch

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew, Recipe
from tnbench.datasets import digits
from tnbench.engine.evaluate import count_correct
from tnbench.engine.loop import fit
from tnbench.models.cnn8 import build, keep_dense, narrower

CPU = torch.device("cpu")


@pytest.mark.parametrize("in_shape", [(1, 8, 8), (3, 8, 8), (1, 6, 16)])
def test_small_pictures_of_any_channels(in_shape):
    assert build("cnn8", None, in_shape, 10)(torch.zeros(2, *in_shape)).shape == (2, 10)


@pytest.mark.parametrize("side", [5, 17, 28])
def test_other_sides_are_refused(side):
    with pytest.raises(NotApplicable, match=f"sides from 6 to 16 pixels, got 8x{side}; digits has them"):
        build("cnn8", None, (1, 8, side), 10)


def test_a_narrower_one_has_a_share_of_the_channels():
    model = narrower("cnn8", None, (1, 8, 8), 10, 0.25)
    assert [model.get_submodule(f"conv{i}").out_channels for i in (1, 2, 3, 4)] == [8, 8, 16, 32]
    assert tuple(model.linear.weight.shape) == (10, 32)


def test_first_and_last_stay_dense():
    assert tuple(keep_dense(build("cnn8", None, (1, 8, 8), 10))) == ("conv1", "linear")


def test_two_epochs_are_enough_for_nine_digits_in_ten():
    pictures = digits.load("digits", None, Path("nowhere"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build("cnn8", None, pictures.in_shape, pictures.classes)
    fit(
        model,
        pictures.train,
        pictures.train_labels,
        normalisation=pictures.normalisation,
        augmentation=pictures.augmentation,
        recipe=Recipe(epochs=2, lr=0.1, batch_size=64, momentum=0.9, weight_decay=0.02, seed=0),
        crew=Crew(0, 1, CPU, torch.get_num_threads(), lambda model: model, lambda: None),
        dtype=torch.float32,
    )
    correct = count_correct(
        model, pictures.test, pictures.test_labels, pictures.normalisation, device=CPU, dtype=torch.float32
    )
    assert correct > 0.9 * 360
