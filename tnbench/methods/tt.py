"""Tensor train through the kernel: 1×1, kH×1, 1×kW and 1×1 convolutions; for a linear layer, two linear layers.

TT-SVD (Oseledets 2011) of the modes (I, kH, kW, O). A matrix is a train of two cores, its truncated SVD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import chain
from tnbench.linalg import tt, with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

refuses = chain.refuses
layer = chain.chain

_SOLVERS = {"gram": tt.tt_svd, "tensorly": with_tensorly.tt_svd}
_TRUNCATE = {"gram": low_rank, "tensorly": with_tensorly.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: our TT-SVD through Gram matrices, or TensorLy's `tensor_train`."""

    solver: Literal["gram", "tensorly"] = "gram"


def largest_ranks(shape: Shape) -> Ranks:
    """(r1, r2, r3): at most the shorter side of each unfolding; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, kH, kW = shape
    return min(I, kH * kW * O), min(I * kH, kW * O), min(I * kH * kW, O)


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what their neighbours leave no use for: r2 is at most r1·kH and r3·kW, and so on."""
    if len(shape) == 2:
        return ranks
    O, I, kH, kW = shape
    forward = _capped(ranks, (I, kH, kW))
    return _capped(forward[::-1], (O, kW, kH))[::-1]


def _capped(ranks: Ranks, sides: Sequence[int]) -> Ranks:
    capped = [1]
    for rank, side in zip(ranks, sides, strict=True):
        capped.append(min(rank, capped[-1] * side))
    return tuple(capped[1:])


def count(shape: Shape, ranks: Ranks) -> int:
    """I·r1 + r1·r2·kH + r2·r3·kW + r3·O."""
    return macs(shape, ranks, Pixels(1, 1, 1))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·r1·Pi + r1·r2·kH·P1 + (r2·r3·kW + r3·O) P."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, kH, kW = shape
    r1, r2, r3 = useful_ranks(shape, ranks)
    return I * r1 * pixels.inp + r1 * r2 * kH * pixels.mid + (r2 * r3 * kW + r3 * O) * pixels.out


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Any = None,
    start: Factors | None = None,
) -> Factors:
    """(r1, I, 1, 1), (r2, r1, kH, 1), (r3, r2, 1, kW) and (O, r3, 1, 1)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, _TRUNCATE[options.solver])
    ranks = useful_ranks(tuple(weight.shape), ranks)
    inp, vertical, horizontal, out = _SOLVERS[options.solver](weight.double().permute(1, 2, 3, 0), ranks)
    kernels = (
        inp[0].T[:, :, None, None],
        vertical.permute(2, 0, 1)[:, :, :, None],
        horizontal.permute(2, 0, 1)[:, :, None, :],
        out[:, :, 0].T[:, :, None, None],
    )
    return tuple(kernel.to(weight.dtype) for kernel in kernels)


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_abc inp[a,i] vertical[b,a,h] horizontal[c,b,w] out[o,c]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, vertical, horizontal, out = factors
    return torch.einsum(
        "ai,bah,cbw,oc->oihw", inp[:, :, 0, 0], vertical[:, :, :, 0], horizontal[:, :, 0], out[:, :, 0, 0]
    )
