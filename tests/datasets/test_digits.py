"""The digits are scikit-learn's, scaled as stated, with a fixed stratified split."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from tnbench.core.errors import TnbenchError
from tnbench.datasets import digits


@pytest.fixture(scope="module")
def pictures():
    return digits.load("digits", None, Path("nowhere"))


def rows(pixels, labels):
    """Pictures with their labels, sorted, so that sets of them can be compared."""
    return sorted(torch.cat([pixels.flatten(1).long(), labels[:, None]], 1).tolist())


def test_they_are_scikit_learns(pictures):
    table = load_digits()
    ink = torch.from_numpy(table.images)
    wanted = (ink * 255 / 16 + 0.5).floor()
    both = torch.cat([pictures.train, pictures.test]), torch.cat([pictures.train_labels, pictures.test_labels])
    assert rows(*both) == rows(wanted, torch.from_numpy(table.target))


def test_the_split_is_stratified_and_fixed(pictures):
    assert (len(pictures.train), len(pictures.test)) == (1437, 360)
    assert pictures.test_labels.bincount().tolist() == [36] * 10
    assert pictures.digest == DIGEST, "pictures or split changed: raise VERSION and this digest"


DIGEST = "519ce9cd5bc70713"


def test_held_out_pictures_are_spread_over_the_whole_file(pictures):
    labels = torch.from_numpy(load_digits().target)
    mask = torch.from_numpy(digits._held_out(labels.numpy()))
    assert torch.equal(pictures.test_labels, labels[mask])
    for quarter in mask.chunk(4):
        assert 80 <= int(quarter.sum()) <= 100


def test_the_normalisation_is_that_of_the_training_pictures(pictures):
    scaled = pictures.train.double() / 255
    assert float(scaled.mean()) == pytest.approx(pictures.normalisation.mean[0], abs=1e-3)
    assert float(scaled.std()) == pytest.approx(pictures.normalisation.std[0], abs=1e-3)


def test_without_scikit_learn_the_error_says_so(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(TnbenchError, match="scikit-learn, which carries the pictures, is not installed"):
        digits.digest("digits", None, Path("nowhere"))
