"""CP: 1×1, depthwise kH×1, depthwise 1×kW and 1×1 convolutions; for a linear layer, a sum of R rank-one matrices.

Lebedev, Ganin, Rakhuba, Oseledets and Lempitsky, "Speeding-up convolutional neural networks using fine-tuned
CP-decomposition" (2015). There is one depthwise convolution per spatial axis, so also in one and in three dimensions.
The best R rank-one terms of a matrix are its truncated SVD.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg.cp import Columns, cp_dense
from tnbench.methods import _cp

VERSION = 3

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
    """(R,): the product of all sides divided by the largest is always enough."""
    return _cp.largest_ranks(shape)


def count(shape: Shape, ranks: Ranks) -> int:
    """R (I + kH + kW + O)."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """R (I·Pi + kH·P1 + kW·P + O·P)."""
    O, I, *k = shape
    (R,) = ranks
    along = sum(side * pixels[axis + 1] for axis, side in enumerate(k))
    return R * (I * pixels.inp + along + O * pixels.out)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R, I, 1, 1), (R, 1, kH, 1), (R, 1, 1, kW) and (O, R, 1, 1); for a linear layer (R, I) and (O, R)."""
    begin = start and _columns(start)
    out, inp, *along = _cp.solve(weight, ranks[0], seed=seed, options=options, stats=stats, start=begin)
    axes = range(len(along))
    depthwise = [
        matrix.T.reshape(-1, 1, *(len(matrix) if other == axis else 1 for other in axes))
        for axis, matrix in enumerate(along)
    ]
    kernels = (_cp.pointwise(inp.T, len(axes)), *depthwise, _cp.pointwise(out, len(axes)))
    return tuple(kernel.to(weight.dtype) for kernel in kernels)


def _columns(factors: Factors) -> Columns:
    """Columns for O, I, kH and kW."""
    *others, out = factors
    return (out.flatten(1), *(factor.flatten(1).T for factor in others))


def dense(factors: Factors) -> Tensor:
    """W[o,i,h,w] = Σ_r out[o,r] inp[i,r] vertical[h,r] horizontal[w,r]."""
    return cp_dense(_columns(factors))


def diagnose(factors: Factors) -> dict[str, float]:
    """Congruence, cancellation and sensitivity of the terms."""
    return _cp.diagnose(_columns(factors))
