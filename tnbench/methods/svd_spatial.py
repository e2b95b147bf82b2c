"""Spatial SVD: a kH×1 convolution, then a 1×kW one.

Jaderberg, Vedaldi and Zisserman, "Speeding up convolutional neural networks with low rank expansions" (2014), scheme 2,
by the truncated SVD of (I·kH) × (kW·O) as Tai, Xiao, Zhang, Wang and E, "Convolutional neural networks with low-rank
regularization" (2016), solve it: the least Frobenius error of its rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain, plain
from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

layer = chain.chain

_SOLVERS = {"gram": low_rank, "tensorly": with_tensorly.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: eigenvectors of the small side's Gram matrix, or TensorLy's SVD."""

    solver: Literal["gram", "tensorly"] = "gram"


def refuses(layer: nn.Module) -> str | None:
    """Why there are no two sides of a kernel to take apart; None for a Conv2d."""
    if reason := plain.refuses(layer):
        return reason
    if isinstance(layer, nn.Linear):
        return "it is a linear layer, which has no kernel to take apart; method svd serves it"
    sides = plain.dimensions(layer)
    return None if sides == 2 else f"its kernel has {sides} spatial sides, wanted two to take apart"


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): at most the shorter side of (I·kH) × (kW·O)."""
    O, I, kH, kW = shape
    return (min(I * kH, kW * O),)


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I·kH + kW·O)."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·kH·P1 + kW·O·P)."""
    O, I, kH, kW = shape
    return ranks[0] * (I * kH * pixels[1] + kW * O * pixels[2])


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """(I·kH) × (kW·O)."""
    O, I, kH, kW = weight.shape
    return (weight.permute(1, 2, 3, 0).reshape(I * kH, kW * O),)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, kH, 1) and (O, R, 1, kW)."""
    O, I, kH, kW = weight.shape
    (matrix,) = unfoldings(weight)
    across, along = _matrix.factorise(matrix, ranks, _SOLVERS[options.solver])
    return along.T.reshape(-1, I, kH, 1).contiguous(), across.reshape(-1, kW, O).permute(2, 0, 1)[
        :, :, None
    ].contiguous()


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_r vertical[r,i,h] horizontal[o,r,w]."""
    vertical, horizontal = factors
    return torch.einsum("rih,orw->oihw", vertical[..., 0], horizontal[:, :, 0])
