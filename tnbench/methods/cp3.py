"""CP with the spatial modes merged: 1×1, depthwise k×k and 1×1 convolutions; for a linear layer, two linear layers.

The form in which Phan, Sobolev, Sozykin, Ermilov, Gusak, Tichavský, Glukhov, Oseledets and Cichocki, "Stable low-rank
tensor decomposition for compression of convolutional neural network" (2020), decompose kernels: each of R terms has a
filter of its own over all k offsets. The best R rank-one terms of a matrix are its truncated SVD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg.cp import Columns, cp_dense
from tnbench.methods import _cp

VERSION = 2

refuses = chain.refuses
layer = chain.chain


@dataclass(frozen=True)
class Options(_cp.Options):
    """`solver`: our alternating least squares, or TensorLy's `parafac`; `iters` is the most sweeps of any.

    `distributed` is plain least squares over the ranks of `tnbench.distributed.solvers.together`; in a case, on one
    process. `aware` weighs errors by the second moment of the layer's input channels.
    """


def needs_stats(options: Options) -> bool:
    """Whether errors are weighed."""
    return options.aware


def largest_ranks(shape: Shape) -> Ranks:
    """(R,): the product of the two smaller of O, I and k is always enough."""
    return _cp.largest_ranks(_merged(shape))


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I + k + O)."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·Pi + k·P + O·P)."""
    O, I, *k = _merged(shape)
    (R,) = ranks
    return R * (I * pixels.inp + (sum(k) + O) * pixels.out)


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
    """(R, I, 1, 1), (R, 1, kH, kW) and (O, R, 1, 1); for a linear layer (R, I) and (O, R)."""
    begin = start and _columns(start)
    merged = weight.reshape(_merged(tuple(weight.shape)))
    out, inp, *filters = _cp.solve(merged, ranks[0], seed=seed, options=options, stats=stats, start=begin)
    k = weight.shape[2:]
    depthwise = [matrix.T.reshape(-1, 1, *k) for matrix in filters]
    kernels = (_cp.pointwise(inp.T, len(k)), *depthwise, _cp.pointwise(out, len(k)))
    return tuple(kernel.to(weight.dtype) for kernel in kernels)


def _columns(factors: Factors) -> Columns:
    """Columns for O, I and k."""
    *others, out = factors
    return (out.flatten(1), *(factor.flatten(1).T for factor in others))


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_r out[o,r] inp[i,r] filters[r,h,w]."""
    k = factors[1].shape[2:] if len(factors) == 3 else ()
    out, inp, *_ = columns = _columns(factors)
    return cp_dense(columns).reshape(len(out), len(inp), *k)


def diagnose(factors: Factors) -> dict[str, float]:
    """Congruence, cancellation and sensitivity of the terms."""
    return _cp.diagnose(_columns(factors))
