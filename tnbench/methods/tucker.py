"""Tucker on all modes: 1×1, k×k and 1×1 convolutions whose k×k weight is kept as a core and one factor per side.

Tucker 1966, by the orthogonal iteration of De Lathauwer, De Moor and Vandewalle (2000). The factors of the kernel's
sides stay parameters of their own, which is what sets it apart from Tucker-2 in training and in weights; on export they
are folded into the core. A linear layer has no such sides: it becomes its truncated SVD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.distributed import solvers
from tnbench.layers import chain, plain
from tnbench.layers.expanded import ExpandedCore
from tnbench.linalg import hosvd, tucker, with_tensorly
from tnbench.linalg.hosvd import Solve
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.multilinear import expanded, unfold
from tnbench.methods import _matrix

VERSION = 1

_SOLVERS: dict[str, Solve] = {
    "hooi": tucker.hooi,
    "st_hosvd": hosvd.st_hosvd,
    "hosvd": hosvd.hosvd,
    "tensorly": with_tensorly.hooi,
    "distributed": solvers.tucker,
}
_TRUNCATE = {"tensorly": with_tensorly.low_rank, "distributed": solvers.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: orthogonal iteration, a higher-order SVD, sequential or plain, or TensorLy's `partial_tucker`.

    `distributed` is the sequential one by TSQR, over the ranks of `tnbench.distributed.solvers.together`; in a case, on
    one process.
    """

    solver: Literal["hooi", "st_hosvd", "hosvd", "tensorly", "distributed"] = "hooi"


def refuses(layer: nn.Module) -> str | None:
    """Why no such factors stand for `layer`; None for a convolution of one group and for a linear layer."""
    return plain.refuses(layer, grouped=False)


def largest_ranks(shape: Shape) -> Ranks:
    """(R1, R2, *Rk) for the input's and the output's channels and the kernel's sides; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, *sides = shape
    return useful_ranks(shape, (I, O, *sides))


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the others leave no use for: each is at most the product of all others."""
    if len(shape) == 2:
        return ranks
    useful = tuple(min(rank, math.prod(ranks) // rank) for rank in ranks)
    return ranks if useful == ranks else useful_ranks(shape, useful)


def count(shape: Shape, ranks: Ranks) -> int:
    """I·R1 + O·R2 + R1·R2·∏ Rk + Σ k·Rk."""
    if len(shape) == 2:
        return _matrix.count(shape, ranks)
    O, I, *sides = shape
    useful = useful_ranks(shape, ranks)
    own = zip((I, O, *sides), useful, strict=True)
    return math.prod(useful) + sum(side * rank for side, rank in own)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·R1·Pi + (R1·R2·k + R2·O) P: those of the convolutions, whatever the kernel's ranks."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, *sides = shape
    R1, R2, *_ = useful_ranks(shape, ranks)
    return I * R1 * pixels.inp + (R1 * R2 * math.prod(sides) + R2 * O) * pixels.out


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """Each mode's, in the order of the ranks."""
    return (weight,) if weight.dim() == 2 else tuple(unfold(weight, mode) for mode in _modes(weight.dim()))


def _modes(dimensions: int) -> tuple[int, ...]:
    return 1, 0, *range(2, dimensions)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(R1, I, 1, ...), the core (R2, R1, *Rk), one (k, Rk) per side and (O, R2, 1, ...)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, _TRUNCATE.get(options.solver, low_rank))
    useful = useful_ranks(tuple(weight.shape), ranks)
    core, (inp, out, *sides) = _SOLVERS[options.solver](_matrix.working(weight), useful, _modes(weight.dim()))
    pointwise = (1,) * len(sides)
    factors = (inp.T.reshape(-1, len(inp), *pointwise), core, *sides, out.reshape(*out.shape, *pointwise))
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ out[o,b] core[b,a,...] inp[a,i], the core expanded along the kernel's sides."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, *between, out = factors
    return expanded(_kernel(*between), (out.flatten(1), inp.flatten(1).T), (0, 1))


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """The module with the factors as its parameters; for a linear layer, two linear layers."""
    return chain.chain(factors, like) if len(factors) == 2 else ExpandedCore(factors, _kernel, like)


def _kernel(core: Tensor, *sides: Tensor) -> Tensor:
    return expanded(core, sides, range(2, core.dim()))
