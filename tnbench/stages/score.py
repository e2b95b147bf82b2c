"""Scoring stage: how right, how sure and how even the finished network's answers are. No time of it is a training's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tnbench.core.protocols import StoredPictures
from tnbench.engine.evaluate import predict
from tnbench.engine.reading import subset
from tnbench.engine.scores import calibration_error, negative_log_likelihood, top1_by_class, top_k
from tnbench.stages.prepare import Prepared

MOST_TRAINING_PICTURES = 10_000
"""Of which the accuracy on training pictures is taken."""
_FEW_CLASSES = 10
"""Up to here one of five guesses is right too often to say anything."""


@dataclass(frozen=True)
class Scored:
    """Metrics by the names of the metric registry, and the accuracy of each class; empty where labels mean nothing."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, list[float | None]] = field(default_factory=dict)


def score(prepared: Prepared, model: nn.Module) -> Scored:
    """Test pictures, all of them, and up to 10,000 training pictures as they are, drawn from the case's seed.

    Raises Diverged where a score is not finite.
    """
    pictures = prepared.pictures
    if not pictures.meaningful:
        return Scored()
    scores, labels = _predict(prepared, model, pictures.test), pictures.test_labels.cpu()
    correct = int((scores.argmax(1) == labels).sum())
    metrics: dict[str, float] = {
        "top1": 100 * correct / len(labels),
        "correct": correct,
        "test_pictures": len(labels),
        "ece": calibration_error(scores, labels),
        "test_nll": negative_log_likelihood(scores, labels),
    }
    if len(pictures.train):  # a data set may come with test pictures only
        metrics["top1_train"] = _on_training_pictures(prepared, model)
    if pictures.classes > _FEW_CLASSES:
        metrics["top5"] = top_k(scores, labels, 5)
    return Scored(metrics, {"top1_by_class": top1_by_class(scores, labels)})


def _on_training_pictures(prepared: Prepared, model: nn.Module) -> float:
    train, labels = prepared.pictures.train, prepared.pictures.train_labels
    if len(train) > MOST_TRAINING_PICTURES:
        drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(prepared.job.case.seed))
        chosen = drawn[:MOST_TRAINING_PICTURES].sort().values
        train, labels = subset(train, chosen), labels[chosen]
    return top_k(_predict(prepared, model, train), labels.cpu(), 1)


def _predict(prepared: Prepared, model: nn.Module, pictures: Tensor | StoredPictures) -> Tensor:
    return predict(model, pictures, prepared.normalisation, device=prepared.device, dtype=prepared.dtype)
