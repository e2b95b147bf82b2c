"""Truncated SVD of O × (I·k): a thin k×k convolution, then a 1×1; for a linear layer, two linear layers.

The channel decomposition of Zhang, Zou, He and Sun, "Accelerating very deep convolutional networks" (2015): the least
Frobenius error of its rank (Eckart and Young 1936), or, aware of the data as they are, the least error of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.range_finder import randomised_low_rank
from tnbench.methods import _matrix

VERSION = 2

refuses = chain.refuses
layer = chain.chain


@dataclass(frozen=True)
class Options:
    """`solver`: eigenvectors of the small side's Gram matrix, a randomised range finder, or TensorLy's SVD.

    `aware` weighs errors by the second moment of the layer's input patches.
    """

    solver: Literal["gram", "randomised", "tensorly"] = "gram"
    aware: bool = False


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): at most the shorter side of the matrix."""
    return _matrix.largest_ranks(shape)


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I·k + O)."""
    return _matrix.count(shape, ranks)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·k + O) P."""
    return _matrix.macs(shape, ranks, pixels)


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """O × (I·k)."""
    return (weight.flatten(1),)


def needs_stats(options: Options) -> bool:
    """Whether errors are weighed by what reaches the layer."""
    return options.aware


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, *k) and (O, R, 1, ...); for a linear layer (R, I) and (O, R)."""
    solvers: dict[str, _matrix.Truncate] = {
        "gram": low_rank,
        "randomised": partial(randomised_low_rank, seed=seed),
        "tensorly": with_tensorly.low_rank,
    }
    return _matrix.factorise(weight, ranks, solvers[options.solver], _matrix.moment(options.aware, stats))


def dense(factors: Factors) -> Tensor:
    """W = W2 W1, the channels between summed over."""
    return _matrix.dense(factors)
