"""Decompose the trained network and leave it at that."""

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
    """Compress the baseline. Its accuracy shows what the decomposition alone costs."""
    return tools.compress(tools.baseline())
