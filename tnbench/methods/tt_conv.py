"""TT-convolution: a few filters alike for all channels, then at each position a TT-matrix over factorised channels.

Garipov, Podoprikhin, Novikov and Vetrov, "Ultimate tensorization: compressing convolutional and FC layers alike"
(2016, arXiv 1611.03214): TT-SVD of the modes (k, o1·i1, ..., od·id). Between the filters and the matrix there are r1
times as many activations as the input has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import plain
from tnbench.layers.tt_conv import TTConv, tt_conv_macs
from tnbench.layers.tt_linear import pack, unpack
from tnbench.linalg import tt, with_tensorly
from tnbench.methods import _factored, _matrix

VERSION = 1

_SOLVERS = {"gram": tt.tt_svd, "tensorly": with_tensorly.tt_svd}


@dataclass(frozen=True)
class Options:
    """`inp` and `out`: as many factors of the input channels as of the output channels, ``8x8``.

    Without them the most balanced ones, `d` of each. `solver`: our TT-SVD through Gram matrices, or TensorLy's
    `tensor_train`.
    """

    inp: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    d: int = 2
    solver: Literal["gram", "tensorly"] = "gram"

    def __post_init__(self) -> None:
        _factored.check("tt_conv", self.inp, self.out, least=1)
        if self.inp and self.out and len(self.inp) != len(self.out):
            raise UsageError(
                f"method tt_conv: got {len(self.inp)} factors in inp and {len(self.out)} in out, "
                f"wanted as many; 1 is a factor too"
            )
        if self.d < 1:
            raise UsageError(f"method tt_conv: got d = {self.d}, wanted 1 or more")


def refuses(layer: nn.Module, *, options: Options) -> str | None:
    """Why no TT-convolution stands for `layer`, or why its channels are not the factors asked for."""
    if reason := plain.refuses(layer, grouped=False):
        return reason
    if isinstance(layer, nn.Linear):
        return "it is a Linear layer, which has no kernel; take tt_linear"
    return _factored.misfit(cast(Tensor, layer.weight).shape, options.inp, options.out)


def _modes(shape: Shape, options: Options) -> tuple[Shape, Shape]:
    return _factored.pairs(shape, options.inp, options.out, options.d)


def _sizes(shape: Shape, options: Options) -> Shape:
    return math.prod(shape[2:]), *(o * i for o, i in zip(*_modes(shape, options), strict=True))


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(r1, ..., rd): at most the shorter side of each unfolding of the tensor (k, o1·i1, ..., od·id)."""
    return tt.largest_ranks(_sizes(shape, options))


def useful_ranks(shape: Shape, ranks: Ranks, *, options: Options) -> Ranks:
    """`ranks` without what their neighbours leave no use for: r1 is at most k, r2 at most r1·o1·i1, and so on."""
    return tt.useful_ranks(_sizes(shape, options), ranks)


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """k·r1 + Σ_j r_j·o_j·i_j·r_{j+1} with r_{d+1} = 1."""
    bonds = (1, *useful_ranks(shape, ranks, options=options), 1)
    return sum(math.prod(core) for core in zip(bonds, _sizes(shape, options), bonds[1:], strict=False))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """(k·r1·I + Σ_j r_j·r_{j+1}·o_j·i_j·∏_{l<j} o_l·∏_{l>j} i_l) P."""
    bonds = (*useful_ranks(shape, ranks, options=options), 1)
    return tt_conv_macs(shape[2:], *_modes(shape, options), bonds) * pixels.out


def unfoldings(weight: Tensor, *, options: Options) -> tuple[Tensor, ...]:
    """k × (all channels), (k·o1·i1) × (the other channels), and so on."""
    return tt.unfoldings(_tensor(weight, options))


def _tensor(weight: Tensor, options: Options) -> Tensor:
    """(k, o1·i1, ..., od·id)."""
    shape = tuple(weight.shape)
    out, inp = _modes(shape, options)
    d = len(out)
    order = [mode for pair in zip(range(d), range(d, 2 * d), strict=True) for mode in pair]
    return weight.reshape(*out, *inp, -1).permute(2 * d, *order).reshape(_sizes(shape, options))


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(r1, 1, *k) and (o_j·r_{j+1}, r_j, i_j) for each j."""
    shape = tuple(weight.shape)
    tensor = _tensor(_matrix.working(weight), options)
    spatial, *cores = _SOLVERS[options.solver](tensor, useful_ranks(shape, ranks, options=options))
    split = (
        core.reshape(len(core), out, inp, -1) for core, out, inp in zip(cores, *_modes(shape, options), strict=True)
    )
    factors = (spatial[0].T.reshape(-1, 1, *shape[2:]), *(pack(core) for core in split))
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def dense(factors: Factors) -> Tensor:
    """W[o, i, ...] = Σ_r kernel[r, ...] (the TT-matrix of rank r in front)[o, i]."""
    kernel, *packed = factors
    cores = unpack(packed)
    whole = tt.contract([kernel.flatten(1).T[None], *(core.flatten(1, 2) for core in cores)])
    pairs = [side for core in cores for side in core.shape[1:3]]
    d = len(cores)
    channels = whole.reshape(-1, *pairs).permute(*range(1, 2 * d, 2), *range(2, 2 * d + 1, 2), 0)
    return channels.reshape(math.prod(pairs[::2]), math.prod(pairs[1::2]), *kernel.shape[2:])


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """A `TTConv` of the factors, in place of `like`."""
    return TTConv(factors, like)
