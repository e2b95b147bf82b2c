"""Truncated SVD of O × (I·kH·kW): a thin k×k convolution, then a 1×1; for a linear layer, two linear layers.

The channel decomposition of Zhang, Zou, He and Sun, "Accelerating very deep convolutional networks" (2015), without
their data; the least Frobenius error of its rank (Eckart and Young 1936).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import chain
from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

refuses = chain.refuses
layer = chain.chain

_SOLVERS = {"gram": low_rank, "tensorly": with_tensorly.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: eigenvectors of the small side's Gram matrix, or TensorLy's SVD."""

    solver: Literal["gram", "tensorly"] = "gram"


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): at most the shorter side of the matrix."""
    return _matrix.largest_ranks(shape)


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I·k + O)."""
    return _matrix.count(shape, ranks)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·k + O) P."""
    return _matrix.macs(shape, ranks, pixels)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Any = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, kH, kW) and (O, R, 1, 1); for a linear layer (R, I) and (O, R)."""
    return _matrix.factorise(weight, ranks, _SOLVERS[options.solver])


def dense(factors: Factors) -> Tensor:
    """W = W2 W1, the channels between summed over."""
    return _matrix.dense(factors)
