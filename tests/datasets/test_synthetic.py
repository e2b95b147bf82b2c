"""Made-up pictures: of the shape asked for, always the same, and marked as meaningless."""

from pathlib import Path

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.datasets import synthetic

ROOT = Path("nowhere")


def load(text):
    bound = Registry().bind("dataset", parse_part("dataset", text)[0])
    return bound.module.load(bound.atom.name, bound.options, ROOT)


def test_the_options_say_what_comes():
    pictures = load("synthetic[shape=1x28x30,classes=3,train=50,test=20]")
    assert pictures.train.shape == (50, 1, 28, 30)
    assert pictures.test.shape == (20, 1, 28, 30)
    assert set(pictures.train_labels.tolist()) == {0, 1, 2}
    assert pictures.classes == 3


def test_accuracy_on_it_means_nothing():
    assert not load("synthetic").meaningful


def test_pixels_take_every_value():
    assert torch.equal(load("synthetic").train.unique(), torch.arange(256, dtype=torch.uint8))


def test_other_options_other_digest():
    texts = ["synthetic", "synthetic[classes=9]", "synthetic[shape=3x32x31]", "synthetic[train=9]", "synthetic[test=9]"]
    assert len({load(text).digest for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shape=32x32", "got shape=32x32, wanted channels, height and width such as 3x32x32"),
        ("shape=3x0x32", "got shape=3x0x32"),
        ("classes=0", "got classes=0, wanted a whole number from 1 on"),
        ("train=-1", "got train=-1"),
        ("tests=1", "no option is named 'tests'; the nearest is 'test'"),
    ],
)
def test_bad_options_are_refused(text, says):
    with pytest.raises(UsageError, match=says):
        load(f"synthetic[{text}]")


def test_nothing_is_wanted_and_nothing_fetched():
    assert synthetic.wanted("synthetic", synthetic.Options(), ROOT) == ()
    synthetic.fetch("synthetic", synthetic.Options(), ROOT)
    assert not ROOT.exists()
