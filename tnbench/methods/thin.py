"""The same architecture with fewer channels, trained from scratch: what any compression has to beat.

Every inner width times one number. Liu, Sun, Zhou, Huang and Darrell, "Rethinking the value of network pruning"
(2019): small networks trained from random weights, for as long, are as good as what pruning leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.methods import _width

VERSION = 1
SCOPE = "network"

widths = _width.widths


def refuses_network(model: nn.Module) -> str | None:
    """Nothing: whether the architecture comes in other widths is the model's to say."""
    return None


def narrowed(
    model: nn.Module,
    width: int,
    *,
    seed: int,
    options: Any,
    rebuild: Callable[[float], nn.Module] | None,
) -> nn.Module:
    """A freshly drawn network of `width` / 256 of the channels. Raises NotApplicable without a `rebuild`."""
    if rebuild is None:
        raise NotApplicable("thin starts from random weights; take training scratch")
    return rebuild(width / _width.STEPS)
