"""TT-matrix of a linear layer: both sizes as products of factors, and one small matrix product per pair of them.

Novikov, Podoprikhin, Osokin and Vetrov, "Tensorizing neural networks" (2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import plain
from tnbench.layers.tt_linear import TTLinear, pack, train_macs, unpack
from tnbench.linalg import tt, tt_matrix, with_tensorly
from tnbench.methods import _factored

VERSION = 1

_SOLVERS = {"gram": tt_matrix.tt_matrix, "tensorly": with_tensorly.tt_matrix}


@dataclass(frozen=True)
class Options:
    """`inp` and `out`: as many factors of the one size as of the other, ``4x8x8``.

    Without them the most balanced ones, `d` of each. `solver`: our TT-SVD in place of one copy of the weight, or
    TensorLy's `tensor_train_matrix`.
    """

    inp: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    d: int = 3
    solver: Literal["gram", "tensorly"] = "gram"

    def __post_init__(self) -> None:
        _factored.check("tt_linear", self.inp, self.out, least=2)
        if self.inp and self.out and len(self.inp) != len(self.out):
            raise UsageError(
                f"method tt_linear: got {len(self.inp)} factors in inp and {len(self.out)} in out, "
                f"wanted as many; 1 is a factor too"
            )
        if self.d < 2:
            raise UsageError(f"method tt_linear: got d = {self.d}, wanted 2 or more")


def refuses(layer: nn.Module, *, options: Options) -> str | None:
    """Why no TT-matrix stands for `layer`: only linear layers of sizes that the factors make up have one."""
    if reason := plain.refuses(layer):
        return reason
    if not isinstance(layer, nn.Linear):
        return f"it is a {type(layer).__name__}, and tt_linear is for Linear layers; take tt or tt_conv"
    return _factored.misfit(layer.weight.shape, options.inp, options.out)


def _modes(shape: Shape, options: Options) -> tuple[Shape, Shape]:
    return _factored.pairs(shape, options.inp, options.out, options.d)


def _sizes(shape: Shape, options: Options) -> Shape:
    return tuple(o * i for o, i in zip(*_modes(shape, options), strict=True))


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(r1, ..., r_{d-1}): at most the shorter side of each unfolding of the tensor (o1·i1, ..., od·id)."""
    return tt.largest_ranks(_sizes(shape, options))


def useful_ranks(shape: Shape, ranks: Ranks, *, options: Options) -> Ranks:
    """`ranks` without what their neighbours leave no use for: r2 is at most r1·o2·i2 and r3·o3·i3, and so on."""
    return tt.useful_ranks(_sizes(shape, options), ranks)


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """Σ_j r_{j-1}·o_j·i_j·r_j with r_0 = r_d = 1."""
    bonds = (1, *useful_ranks(shape, ranks, options=options), 1)
    return sum(math.prod(core) for core in zip(bonds, _sizes(shape, options), bonds[1:], strict=False))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """Σ_j r_{j-1}·r_j·o_j·i_j·∏_{l<j} o_l·∏_{l>j} i_l."""
    return train_macs(*_modes(shape, options), (1, *useful_ranks(shape, ranks, options=options), 1)) * pixels.out


def unfoldings(weight: Tensor, *, options: Options) -> tuple[Tensor, ...]:
    """(o1·i1 ··· oj·ij) × (the rest), for j = 1, ..., d-1."""
    out, inp = _modes(tuple(weight.shape), options)
    order = [mode for pair in zip(range(len(out)), range(len(out), 2 * len(out)), strict=True) for mode in pair]
    return tt.unfoldings(weight.reshape(*out, *inp).permute(order).reshape(_sizes(tuple(weight.shape), options)))


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(o_j·r_j, r_{j-1}, i_j) for each j."""
    shape = tuple(weight.shape)
    cores = _SOLVERS[options.solver](weight, *_modes(shape, options), useful_ranks(shape, ranks, options=options))
    return tuple(pack(core).to(weight.dtype).contiguous() for core in cores)


def dense(factors: Factors) -> Tensor:
    """W[o1 ··· od, i1 ··· id] = Σ over the ranks of the product of the cores' entries."""
    return tt_matrix.contract(unpack(factors))


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """A `TTLinear` of the factors, in place of `like`."""
    return TTLinear(factors, cast(nn.Linear, like))
