"""Tucker-2 on both channel modes: 1×1, k×k and 1×1 convolutions; for a linear layer, its SVD.

Kim, Park, Yoo, Choi, Yang and Shin, "Compression of deep convolutional neural networks for fast and low power mobile
applications" (2016). A matrix has only its two channel modes, whose core merges into a neighbour: what remains is the
truncated SVD, which the paper uses for linear layers too (as Tucker-1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import chain
from tnbench.linalg import tucker, with_tensorly
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

refuses = chain.refuses
layer = chain.chain

_SOLVERS = {"hooi": tucker.tucker2, "tensorly": with_tensorly.tucker2}
_TRUNCATE = {"hooi": low_rank, "tensorly": with_tensorly.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: our HOSVD and orthogonal iteration through Gram matrices, or TensorLy's `partial_tucker`."""

    solver: Literal["hooi", "tensorly"] = "hooi"


def largest_ranks(shape: Shape) -> Ranks:
    """(R1, R2) for the input's and the output's channels; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, kH, kW = shape
    return min(I, O * kH * kW), min(O, I * kH * kW)


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the other one leaves no use for: the core (R2, R1·k) has at most full rank."""
    if len(shape) == 2:
        return ranks
    k = math.prod(shape[2:])
    R1, R2 = ranks
    return min(R1, R2 * k), min(R2, R1 * k)


def count(shape: Shape, ranks: Ranks) -> int:
    """I·R1 + R1·R2·k + R2·O."""
    return macs(shape, ranks, Pixels(1, 1, 1))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·R1·Pi + (R1·R2·k + R2·O) P."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, kH, kW = shape
    R1, R2 = useful_ranks(shape, ranks)
    return I * R1 * pixels.inp + (R1 * R2 * kH * kW + R2 * O) * pixels.out


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Any = None,
    start: Factors | None = None,
) -> Factors:
    """(R1, I, 1, 1), (R2, R1, kH, kW) and (O, R2, 1, 1)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, _TRUNCATE[options.solver])
    R1, R2 = useful_ranks(tuple(weight.shape), ranks)
    core, out, inp = _SOLVERS[options.solver](weight.double(), (R2, R1))
    return tuple(factor.to(weight.dtype) for factor in (inp.T[..., None, None], core, out[..., None, None]))


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_ab out[o,b] core[b,a,h,w] inp[a,i]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, core, out = factors
    return torch.einsum("ai,bahw,ob->oihw", inp[:, :, 0, 0], core, out[:, :, 0, 0])
