"""Tucker-2 on both channel modes: 1×1, k×k and 1×1 convolutions; for a linear layer, its SVD.

Kim, Park, Yoo, Choi, Yang and Shin, "Compression of deep convolutional neural networks for fast and low power mobile
applications" (2016). A matrix has only its two channel modes, whose core merges into a neighbour: what remains is the
truncated SVD, which the paper uses for linear layers too (as Tucker-1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg import hosvd, tucker, with_tensorly
from tnbench.linalg.hosvd import Solve
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.multilinear import expanded, mode_product, unfold
from tnbench.linalg.whitening import root_and_inverse
from tnbench.methods import _matrix

VERSION = 2

refuses = chain.refuses
layer = chain.chain

_SOLVERS: dict[str, Solve] = {"st_hosvd": hosvd.st_hosvd, "hosvd": hosvd.hosvd, "tensorly": with_tensorly.hooi}


@dataclass(frozen=True)
class Options:
    """`solver`: orthogonal iteration, a higher-order SVD, sequential or plain, or TensorLy's `partial_tucker`.

    `aware` weighs errors by the second moment of the layer's input channels.
    """

    solver: Literal["hooi", "st_hosvd", "hosvd", "tensorly"] = "hooi"
    aware: bool = False


def largest_ranks(shape: Shape) -> Ranks:
    """(R1, R2) for the input's and the output's channels; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, *sides = shape
    k = math.prod(sides)
    return min(I, O * k), min(O, I * k)


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the other one leaves no use for: the core (R2, R1·k) has at most full rank."""
    if len(shape) == 2:
        return ranks
    k = math.prod(shape[2:])
    R1, R2 = ranks
    return min(R1, R2 * k), min(R2, R1 * k)


def count(shape: Shape, ranks: Ranks) -> int:
    """I·R1 + R1·R2·k + R2·O."""
    return macs(shape, ranks, Pixels.ones(shape))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·R1·Pi + (R1·R2·k + R2·O) P."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, *sides = shape
    R1, R2 = useful_ranks(shape, ranks)
    return I * R1 * pixels.inp + (R1 * R2 * math.prod(sides) + R2 * O) * pixels.out


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """I × (O·k) and O × (I·k); a matrix itself."""
    return (weight,) if weight.dim() == 2 else (unfold(weight, 1), unfold(weight, 0))


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
    """(R1, I, 1, ...), (R2, R1, *k) and (O, R2, 1, ...); for a linear layer (R, I) and (O, R)."""
    moment = _matrix.channel_moment(options.aware, stats)
    if weight.dim() == 2:
        truncate = with_tensorly.low_rank if options.solver == "tensorly" else low_rank
        return _matrix.factorise(weight, ranks, truncate, moment)
    R1, R2 = useful_ranks(tuple(weight.shape), ranks)
    core, out, inp = _solve(_matrix.working(weight), (R2, R1), options.solver, moment)
    pointwise = (1,) * (weight.dim() - 2)
    factors = (inp.T.reshape(R1, -1, *pointwise), core, out.reshape(-1, R2, *pointwise))
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def _solve(weight: Tensor, ranks: Ranks, solver: str, moment: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Core (R2, R1, *k) and factors (O, R2), (I, R1), the latter not orthonormal where errors are weighed."""
    if moment is not None:
        root, inverse = root_and_inverse(moment)
        core, out, inp = _solve(mode_product(weight.double(), root, 1), ranks, solver, None)
        return core, out, inverse @ inp
    if solver == "hooi":
        return tucker.tucker2(weight, (ranks[0], ranks[1]))
    core, (out, inp) = _SOLVERS[solver](weight, ranks, (0, 1))
    return core, out, inp


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ_ab out[o,b] core[b,a,...] inp[a,i]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, core, out = factors
    return expanded(core, (out.flatten(1), inp.flatten(1).T), (0, 1))
