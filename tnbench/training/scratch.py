"""Train the factorised network from random factors, without a trained dense network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import TrainingTools

if TYPE_CHECKING:
    from torch import nn

VERSION = 1


def needs_baseline(options: Any) -> bool:
    """No: the factors begin at random."""
    return False


def run(tools: TrainingTools, options: Any) -> nn.Module:
    """Compress a freshly drawn network, rescale its layers, train for `settings.epochs` at `settings.baseline_lr`.

    The factors are those of a random weight, so they begin balanced and in the format's own gauge. Truncation takes
    much of a random weight's norm; each layer is scaled back to it, so that activations keep the variance for which
    the dense network was initialised (He et al. 2015, arXiv:1502.01852).
    """
    model = tools.compress(tools.fresh(), rescale=True)
    tools.evaluate_before(model)
    tools.fit(model, epochs=tools.settings.epochs, lr=tools.settings.baseline_lr)
    return model
