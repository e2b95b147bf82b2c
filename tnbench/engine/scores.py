"""What scores say of a network beyond the share of right answers: k best, class by class, likelihood, calibration."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15
"""Bins of the calibration error, as many as Guo et al. take."""


def top_k(scores: Tensor, labels: Tensor, k: int) -> float:
    """Per cent of the pictures whose label (N,) is among the `k` highest of its scores (N, classes)."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return 100 * float((best == labels[:, None]).any(1).double().mean())


def top1_by_class(scores: Tensor, labels: Tensor) -> list[float | None]:
    """Per cent right of each class's own pictures, scores (N, classes); None for a class without pictures."""
    classes = scores.shape[1]
    there = labels.bincount(minlength=classes)
    right = labels[scores.argmax(1) == labels].bincount(minlength=classes)
    return [100 * hits / n if n else None for hits, n in zip(right.tolist(), there.tolist(), strict=True)]


def negative_log_likelihood(scores: Tensor, labels: Tensor) -> float:
    """Mean of -log p(label) in nats, p the softmax of the scores (N, classes): the cross-entropy, without smoothing."""
    return float(-scores.double().log_softmax(1).gather(1, labels[:, None]).mean())


def calibration_error(scores: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The expected calibration error in percentage points, of scores (N, classes) as they are (no temperature).

    sum_b n_b / N |accuracy_b - confidence_b| over `bins` equal intervals ](b-1)/bins, b/bins] of the confidence, which
    is the softmax's largest probability (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks",
    ICML 2017, equation 3).
    """
    confidence, said = scores.double().softmax(1).max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    excess = confidence - (said == labels).double()
    return 100 * float(torch.zeros(bins, dtype=torch.double).index_add_(0, place, excess).abs().sum()) / len(labels)
