"""Train the factorised network from random factors, without a trained dense network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnbench.core.protocols import TrainingTools
from tnbench.training._epochs import Epochs, from_scratch

if TYPE_CHECKING:
    from torch import nn

VERSION = 1


@dataclass(frozen=True)
class Options:
    """`epochs`: the settings' own, or in total as many as a baseline and its fine-tuning have together."""

    epochs: Epochs = "own"


def needs_baseline(options: Options) -> bool:
    """No: the factors begin at random."""
    return False


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """Compress a freshly drawn network, rescale its layers, train at `settings.baseline_lr`.

    The factors are those of a random weight, so they begin balanced and in the format's own gauge. Truncation takes
    much of a random weight's norm; each layer is scaled back to it, so that activations keep the variance for which
    the dense network was initialised (He et al. 2015, arXiv:1502.01852).
    """
    model = tools.compress(tools.fresh(), rescale=True)
    tools.evaluate_before(model)
    tools.fit(model, epochs=from_scratch(tools.settings, options.epochs), lr=tools.settings.baseline_lr)
    return model
