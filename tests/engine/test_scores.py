"""Scores by hand, and against the definition written out picture by picture."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tnbench.engine.scores import calibration_error, negative_log_likelihood, top1_by_class, top_k


def scores_of(probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


def random_scores(pictures=200, classes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(pictures, classes, generator=generator)
    return scores, torch.randint(classes, (pictures,), generator=generator)


def test_the_label_may_be_among_the_k_best():
    scores, labels = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([0, 1, 2])
    assert [top_k(scores, labels, k) for k in (1, 2, 3, 5)] == pytest.approx([100 / 3, 200 / 3, 100, 100])


def test_every_class_has_its_own_share_and_an_absent_one_has_none():
    scores = torch.eye(4)[[0, 0, 1, 1]]
    assert top1_by_class(scores, torch.tensor([0, 1, 1, 3])) == [100.0, 50.0, None, 0.0]


def test_classes_together_give_top1():
    scores, labels = random_scores()
    shares, pictures = top1_by_class(scores, labels), labels.bincount(minlength=7).tolist()
    together = sum(share * n for share, n in zip(shares, pictures, strict=True)) / 200
    assert together == pytest.approx(top_k(scores, labels, 1))


def test_likelihood_is_the_cross_entropy():
    assert negative_log_likelihood(scores_of([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([0, 1])) == pytest.approx(
        (math.log(4) + math.log(2)) / 2
    )
    scores, labels = random_scores()
    assert negative_log_likelihood(scores, labels) == pytest.approx(
        float(torch.nn.functional.cross_entropy(scores.double(), labels))
    )


def test_calibration_by_hand():
    """Two sure answers of 0.9, one of them right: |0.5 - 0.9|; one of 0.6, right: |1 - 0.6|."""
    scores = scores_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    assert calibration_error(scores, torch.tensor([0, 1, 0])) == pytest.approx(100 * (2 * 0.4 + 0.4) / 3)


def test_errors_of_both_signs_in_one_bin_cancel_and_in_two_do_not():
    scores, labels = scores_of([[0.61, 0.39], [0.99, 0.01]]), torch.tensor([0, 1])
    assert calibration_error(scores, labels, bins=1) == pytest.approx(100 * abs(0.5 - 0.8))
    assert calibration_error(scores, labels, bins=2) == calibration_error(scores, labels, bins=1)
    assert calibration_error(scores, labels, bins=15) == pytest.approx(100 * (0.39 + 0.99) / 2)


def written_out(scores, labels, bins):
    total, found = 0.0, {}
    for row, label in zip(scores.double().softmax(1).tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        place = next(b for b in range(1, bins + 1) if confidence <= b / bins or b == bins)
        found.setdefault(place, []).append((confidence, row.index(confidence) == label))
    for answers in found.values():
        n = len(answers)
        gap = abs(sum(right for _, right in answers) / n - sum(confidence for confidence, _ in answers) / n)
        total += n / len(labels) * gap
    return 100 * total


@given(st.integers(0, 10_000), st.sampled_from([1, 5, 15]))
def test_calibration_is_as_it_is_defined(seed, bins):
    scores, labels = random_scores(pictures=60, seed=seed)
    assert calibration_error(scores, labels, bins) == pytest.approx(written_out(scores, labels, bins))


def test_certain_and_right_is_calibrated_certain_and_wrong_is_not():
    scores = torch.tensor([[500.0, -500.0]])
    assert calibration_error(scores, torch.tensor([0])) == 0.0
    assert calibration_error(scores, torch.tensor([1])) == 100.0
