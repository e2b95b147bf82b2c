"""Decompose the trained network, then recompute the running statistics of its BatchNorm; no weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import TrainingTools

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
TRAINS = False


def needs_baseline(options: Any) -> bool:
    """Yes: its weights are what is decomposed."""
    return True


def run(tools: TrainingTools, options: Any) -> nn.Module:
    """Compress the baseline, evaluate it, recompute BatchNorm's means and variances on training pictures.

    What a layer hands on changes with its weights, and the statistics are those of the dense network. Renewing them
    costs a forward pass over some pictures and no labels: the cheapest step between nothing and fine-tuning.
    """
    model = tools.compress(tools.baseline())
    tools.evaluate_before(model)
    tools.recalibrate(model)
    return model
