"""CP with error-preserving correction: 1×1, depthwise k×k and 1×1 convolutions whose terms do not cancel.

Phan, Sobolev, Sozykin, Ermilov, Gusak, Tichavský, Glukhov, Oseledets and Cichocki, "Stable low-rank tensor
decomposition for compression of convolutional neural network" (2020): from the terms of alternating least squares, the
least sensitive ones whose error is as good. The kernel's sides are one mode. A linear layer gets its truncated SVD,
whose terms are orthogonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg.cp import Columns
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _cp, _cp_epc, _matrix

VERSION = 2

refuses = chain.refuses
layer = chain.chain


@dataclass(frozen=True)
class Options(_cp_epc.Options):
    """`iters`: most sweeps of least squares; `sweeps`: most sweeps of the correction, from each of `starts`.

    `slack` is the share by which the correction may raise the error. Starts after the first are random.
    """


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): the product of O, I and k divided by the largest is always enough."""
    return _cp.largest_ranks(_merged(shape))


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I + k + O)."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·Pi + k·P + O·P)."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, k = _merged(shape)
    return ranks[0] * (I * pixels.inp + (k + O) * pixels.out)


def _merged(shape: Shape) -> Shape:
    """(O, I, k); (O, I) of a linear layer."""
    return (*shape[:2], math.prod(shape[2:])) if len(shape) > 2 else shape


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, 1, ...), (R, 1, *k) and (O, R, 1, ...); for a linear layer (R, I) and (O, R)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, low_rank)
    begin = start and _columns(start)
    out, inp, kernel = _cp_epc.solve(weight.flatten(2), ranks[0], seed=seed, options=options, start=begin)
    sides = weight.shape[2:]
    factors = (_cp.pointwise(inp.T, len(sides)), _cp_epc.depthwise(kernel, sides), _cp.pointwise(out, len(sides)))
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def _columns(factors: Factors) -> Columns:
    """Columns for O, I and k."""
    *others, out = factors
    return out.flatten(1), *(factor.flatten(1).T for factor in others)


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ_r out[o,r] inp[i,r] kernel[...,r]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    return _cp_epc.dense(_columns(factors), factors[1].shape[2:])


def diagnose(factors: Factors) -> dict[str, float]:
    """Congruence, cancellation and sensitivity of the terms."""
    return _cp.diagnose(_columns(factors))
