"""Scoring looks at every test picture and at a seeded share of the training pictures."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tnbench.core.protocols import Normalisation, Pictures
from tnbench.stages import score as stage
from tnbench.stages.score import score

CLASSES = 12


class Reader(nn.Module):
    """Scores of a picture (1, 1, 1) whose pixel is a class: best for that class, and worse for each next one."""

    def forward(self, pictures):
        said = (255 * pictures.flatten(1)).round().long()
        return -((torch.arange(CLASSES) - said) % CLASSES).float()


def prepared(train_labels, test_labels, *, seed=0, **more):
    """Every picture looks like its place in the list, modulo the classes."""

    def looks(n):
        return (torch.arange(n) % CLASSES).to(torch.uint8).view(-1, 1, 1, 1)

    pictures = Pictures(
        looks(len(train_labels)),
        torch.tensor(train_labels),
        looks(len(test_labels)),
        torch.tensor(test_labels),
        classes=CLASSES,
        digest="",
        normalisation=Normalisation((0.0,), (1.0,)),
        **more,
    )
    return SimpleNamespace(
        pictures=pictures,
        normalisation=pictures.normalisation,
        device=torch.device("cpu"),
        dtype=torch.float32,
        job=SimpleNamespace(case=SimpleNamespace(seed=seed)),
    )


def test_the_numbers_agree_with_each_other():
    labels = [0, 1, 2, 3, 8, 0, 6, 7, 8, 9, 10, 11]  # of twelve, two are wrong: 4 is called 8 and 5 is called 0
    found = score(prepared(list(range(12)), labels), Reader())
    assert found.metrics["top1"] == pytest.approx(100 * 10 / 12)
    assert (found.metrics["correct"], found.metrics["test_pictures"], found.metrics["top1_train"]) == (10, 12, 100.0)
    assert found.metrics["top5"] == pytest.approx(100 * 11 / 12)
    assert found.samples["top1_by_class"][0] == 50.0
    assert found.samples["top1_by_class"][4] is None
    assert found.metrics["test_nll"] > 0
    assert found.metrics["ece"] > 0


def test_of_many_training_pictures_a_seeded_share_is_taken(monkeypatch):
    monkeypatch.setattr(stage, "MOST_TRAINING_PICTURES", 24)
    labels = [place % CLASSES if place % 3 else 0 for place in range(600)]
    seen = {seed: score(prepared(labels, [0] * 12, seed=seed), Reader()).metrics["top1_train"] for seed in range(6)}
    assert len(set(seen.values())) > 1
    assert seen[3] == score(prepared(labels, [0] * 12, seed=3), Reader()).metrics["top1_train"]


def test_five_guesses_of_ten_say_nothing():
    made = prepared([0], [0, 1])
    made.pictures = Pictures(**{**vars(made.pictures), "classes": 10})
    assert "top5" not in score(made, Reader()).metrics


def test_made_up_labels_have_no_score():
    found = score(prepared([0], [0], meaningful=False), Reader())
    assert (found.metrics, found.samples) == ({}, {})
