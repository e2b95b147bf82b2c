"""Decompose the trained network, then train the factors for a few epochs at a low rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import TrainingTools

if TYPE_CHECKING:
    from torch import nn

VERSION = 1


def needs_baseline(options: Any) -> bool:
    """Yes: its weights are what is decomposed."""
    return True


def run(tools: TrainingTools, options: Any) -> nn.Module:
    """Compress the baseline, evaluate it, train all its parameters for `settings.epochs` at a peak of `settings.lr`.

    The usual way since Kim et al. 2016 (arXiv:1511.06530): decompose once, then recover the accuracy by training the
    factors as ordinary layers. The dense network goes through the same epochs, so a drop is the decomposition's.
    """
    model = tools.compress(tools.baseline())
    tools.evaluate_before(model)
    tools.fit(model, epochs=tools.settings.epochs, lr=tools.settings.lr)
    return model
