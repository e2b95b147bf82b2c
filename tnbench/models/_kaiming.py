"""Initial weights of convolutions and linear layers for ReLU networks."""

from __future__ import annotations

from torch import nn


def initialise(model: nn.Module) -> None:
    """Draw weights from N(0, 2 / fan_in) and set biases to zero (He et al. 2015, arXiv:1502.01852)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
