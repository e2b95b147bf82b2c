"""Tucker-2, then a stable CP of its core: 1×1, 1×1, depthwise k×k, 1×1 and 1×1 convolutions.

Phan, Sobolev, Sozykin, Ermilov, Gusak, Tichavský, Glukhov, Oseledets and Cichocki, "Stable low-rank tensor
decomposition for compression of convolutional neural network" (2020), TKD-CPD with error-preserving correction. Two
1×1 convolutions in a row are merged where that has no more weights. A linear layer gets its truncated SVD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg.cp import Columns
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.tucker import tucker2
from tnbench.methods import _cp, _cp_epc, _matrix

VERSION = 2

refuses = chain.refuses
layer = chain.chain


@dataclass(frozen=True)
class Options(_cp_epc.Options):
    """`iters`: most sweeps of least squares for the core; `sweeps`: most of the correction, from each of `starts`.

    `slack` is the share by which the correction may raise the error. Starts after the first are random.
    """


def largest_ranks(shape: Shape) -> Ranks:
    """(R1, R2, R) for the input's and the output's channels and the terms of the core; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, *sides = shape
    k = math.prod(sides)
    R1, R2 = min(I, O * k), min(O, I * k)
    return R1, R2, *_cp.largest_ranks((R2, R1, k))


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the others leave no use for: the core (R2, R1·k) has at most full rank, and so its CP."""
    if len(shape) == 2:
        return ranks
    k = math.prod(shape[2:])
    R1, R2, R = ranks
    R1, R2 = min(R1, R2 * k), min(R2, R1 * k)
    return R1, R2, min(R, *_cp.largest_ranks((R2, R1, k)))


def count(shape: Shape, ranks: Ranks) -> int:
    """I·R1 + R (R1 + k + R2) + R2·O, or I·R for the first two and R·O for the last two where that is no more."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """(I·R1 + R1·R) Pi + (R·k + R·R2 + R2·O) P, with I·R and R·O in place of what is merged."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, *sides = shape
    R1, R2, R = useful_ranks(shape, ranks)
    return _pair(I, R1, R) * pixels.inp + (R * math.prod(sides) + _pair(O, R2, R)) * pixels.out


def _pair(channels: int, rank: int, terms: int) -> int:
    """Weights between a layer's channels and the depthwise convolution: of two 1×1 convolutions, or of one."""
    return rank * (channels + terms) if _split(channels, rank, terms) else channels * terms


def _split(channels: int, rank: int, terms: int) -> bool:
    """Whether two 1×1 convolutions have fewer weights than their product."""
    return rank * (channels + terms) < channels * terms


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R1, I, 1, ...), (R, R1, 1, ...), (R, 1, *k), (R2, R, 1, ...) and (O, R2, 1, ...); merged, (R, I, 1, ...) for
    the first two and (O, R, 1, ...) for the last two; for a linear layer (R, I) and (O, R)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, low_rank)
    O, I, *sides = weight.shape
    R1, R2, R = useful_ranks(tuple(weight.shape), ranks)
    core, left, right = tucker2(weight.double().flatten(2), (R2, R1))
    begin = start and _within(_columns(start), left, right)
    out, inp, kernel = _cp_epc.solve(core, R, seed=seed, options=options, start=begin)
    before = [right.T, inp.T] if _split(I, R1, R) else [inp.T @ right.T]
    after = [out, left] if _split(O, R2, R) else [left @ out]
    factors = [_cp.pointwise(matrix, len(sides)) for matrix in (*before, *after)]
    factors.insert(len(before), _cp_epc.depthwise(kernel, sides))
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def _within(columns: Columns, left: Tensor, right: Tensor) -> Columns:
    """A kernel's terms as a core's: the columns for its channels, projected on the bases (O, R2) and (I, R1)."""
    out, inp, kernel = (matrix.double() for matrix in columns)
    return left.T @ out, right.T @ inp, kernel


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ_r out[o,r] inp[i,r] kernel[...,r], out and inp from one 1×1 convolution or the product of two."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    return _cp_epc.dense(_columns(factors), factors[_depthwise(factors)].shape[2:])


def diagnose(factors: Factors) -> dict[str, float]:
    """Congruence, cancellation and sensitivity of the whole weight's terms."""
    return _cp.diagnose((factors[1], factors[0].T) if len(factors) == 2 else _columns(factors))


def _columns(factors: Factors) -> Columns:
    """Columns (O, R), (I, R) and (k, R) of the whole kernel's terms."""
    at = _depthwise(factors)
    inp, out = (_product([factor.flatten(1) for factor in part]) for part in (factors[:at], factors[at + 1 :]))
    return out, inp.T, factors[at].flatten(1).T


def _product(matrices: Sequence[Tensor]) -> Tensor:
    """The matrix of a chain, first applied first."""
    return reduce(lambda before, after: after @ before, matrices)


def _depthwise(factors: Factors) -> int:
    """Index of the factor with the kernel; between two 1×1 convolutions where the kernel has a single position."""
    return next((at for at, factor in enumerate(factors) if factor[0, 0].numel() > 1), 1)
