"""CP: 1×1, depthwise kH×1, depthwise 1×kW and 1×1 convolutions; for a linear layer, a sum of R rank-one matrices.

Lebedev, Ganin, Rakhuba, Oseledets and Lempitsky, "Speeding-up convolutional neural networks using fine-tuned
CP-decomposition" (2015). The best R rank-one terms of a matrix are its truncated SVD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape
from tnbench.layers import chain
from tnbench.linalg import with_tensorly
from tnbench.linalg.cp import Columns, balanced, cp_als, cp_exact
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

refuses = chain.refuses
layer = chain.chain

_TRUNCATE = {"als": low_rank, "tensorly": with_tensorly.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: our alternating least squares, of at most `iters` sweeps, or TensorLy's `parafac` at its defaults."""

    solver: Literal["als", "tensorly"] = "als"
    iters: int = 100

    def __post_init__(self) -> None:
        if self.iters < 1:
            raise UsageError(f"method cp: got iters = {self.iters}, wanted a whole number from 1 on")


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): the product of all sides divided by the largest is always enough."""
    return (math.prod(shape) // max(shape),)


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I + kH + kW + O)."""
    return macs(shape, ranks, Pixels(1, 1, 1))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·Pi + kH·P1 + kW·P + O·P)."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, kH, kW = shape
    (R,) = ranks
    return R * (I * pixels.inp + kH * pixels.mid + (kW + O) * pixels.out)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Any = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, 1, 1), (R, 1, kH, 1), (R, 1, 1, kW) and (O, R, 1, 1)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, _TRUNCATE[options.solver])
    out, inp, vertical, horizontal = _solve(weight.double(), ranks[0], seed, options, start)
    kernels = (
        inp.T[:, :, None, None],
        vertical.T[:, None, :, None],
        horizontal.T[:, None, None, :],
        out[:, :, None, None],
    )
    return tuple(kernel.to(weight.dtype) for kernel in kernels)


def _solve(weight: Tensor, R: int, seed: int, options: Options, start: Factors | None) -> Columns:
    """Columns for O, I, kH and kW."""
    if largest_ranks(tuple(weight.shape)) <= (R,):
        return cp_exact(weight, R)
    if weight.shape[2:] == (1, 1):
        left, right = _TRUNCATE[options.solver](weight.flatten(1), R)
        return balanced((left, right.T, weight.new_ones(1, R), weight.new_ones(1, R)))
    if options.solver == "tensorly":
        return balanced(with_tensorly.cp(weight, R, seed=seed))
    begin = _columns(tuple(factor.double() for factor in start)) if start else None
    return cp_als(weight, R, seed=seed, start=begin, max_sweeps=options.iters)


def _columns(factors: Factors) -> Columns:
    inp, vertical, horizontal, out = factors
    return out[:, :, 0, 0], inp[:, :, 0, 0].T, vertical[:, 0, :, 0].T, horizontal[:, 0, 0].T


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_r out[o,r] inp[i,r] vertical[h,r] horizontal[w,r]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    out, inp, vertical, horizontal = _columns(factors)
    return torch.einsum("ir,hr,wr,or->oihw", inp, vertical, horizontal, out)
