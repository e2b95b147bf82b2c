"""Magnitude pruning: each layer keeps its N largest weights, the others become zero; times stay the dense ones.

The control without structure: Han, Pool, Tran and Dally, "Learning both weights and connections for efficient neural
networks" (2015), one layer at a time and at once, by ``torch.nn.utils.prune``. Its count is of weights that are not
zero: what a format of sparse weights would store, indices apart.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import plain
from tnbench.layers.masked import Masked

VERSION = 1
SPARSE = True


def refuses(layer: nn.Module) -> str | None:
    """Why there are no weights to prune; None for every plain convolution, depthwise too, and linear layer."""
    return None if type(layer) in plain.CONVOLUTIONS else plain.refuses(layer)


def largest_ranks(shape: Shape) -> Ranks:
    """(N,): all weights."""
    return (math.prod(shape),)


def count(shape: Shape, ranks: Ranks) -> int:
    """N, the weights that are not zero."""
    return ranks[0]


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """O·I·k·P, as dense: zeros are multiplied like other numbers."""
    return math.prod(shape) * pixels.out


def factorise(
    weight: Tensor, ranks: Ranks, *, seed: int, options: Any, stats: Any = None, start: Factors | None = None
) -> Factors:
    """The weight with its smallest entries zeroed, N left."""
    weight = weight.contiguous()  # torch's pruning views the weight as one row
    pruning = prune.L1Unstructured(amount=weight.numel() - ranks[0])
    return (weight * pruning.compute_mask(weight, torch.ones_like(weight)),)


def dense(factors: Factors) -> Tensor:
    """The weight, zeros and all."""
    return factors[0]


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """A layer like `like` whose zeros stay zero in training."""
    copied = copy.deepcopy(like)
    copied.weight.data = factors[0].detach().clone()
    return Masked(copied)
