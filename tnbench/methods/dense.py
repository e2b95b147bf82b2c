"""The identity: every layer is a copy of itself. Its only rank is `full`."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import Tensor, nn

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape

VERSION = 1


def refuses(layer: nn.Module) -> str | None:
    """Nothing."""
    return None


def largest_ranks(shape: Shape) -> Ranks:
    """None."""
    return ()


def count(shape: Shape, ranks: Ranks) -> int:
    """O·I·k."""
    return math.prod(shape)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """O·I·k·P."""
    return math.prod(shape) * pixels.out


def factorise(
    weight: Tensor, ranks: Ranks, *, seed: int, options: Any, stats: Any = None, start: Factors | None = None
) -> Factors:
    """A copy of the weight."""
    return (weight.clone(),)


def dense(factors: Factors) -> Tensor:
    """The weight itself."""
    return factors[0]


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """A copy of `like` with its own tensors."""
    copied = copy.deepcopy(like)
    copied.weight.data = factors[0].detach().clone()
    return copied
