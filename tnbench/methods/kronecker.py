"""Sum of S Kronecker products: channels as pairs, a small convolution over one half and a mixing of the other.

W = Σ_s A_s ⊗ B_s with A (o1, i1) and B (o2, i2, *k), O = o1·o2 and I = i1·i2. Nearest sum: Van Loan and Pitsianis,
"Approximation with Kronecker products" (1993); as layers: Hameed, Tahaei, Mosleh and Partovi Nia, "Convolutional neural
network compression through generalized Kronecker product decomposition" (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import plain
from tnbench.layers.kronecker import KroneckerSum, kronecker_macs
from tnbench.linalg.kronecker import kronecker_sum, nearest_kronecker_sum, rearranged

VERSION = 1


@dataclass(frozen=True)
class Options:
    """`out` and `inp`: o1 and i1, the sides of A; 0 takes the least divisor from the square root on."""

    out: int = 0
    inp: int = 0

    def __post_init__(self) -> None:
        if self.out < 0 or self.inp < 0:
            raise UsageError(
                f"method kronecker: got out = {self.out} and inp = {self.inp}, wanted divisors of the channels, or 0"
            )


def refuses(layer: nn.Module, *, options: Options) -> str | None:
    """Why no factors stand for `layer`, or why its channels do not split as asked."""
    if reason := plain.refuses(layer, grouped=False):
        return reason
    O, I, *_ = cast(Tensor, layer.weight).shape
    for channels, wanted, name, side in ((O, options.out, "out", "output"), (I, options.inp, "inp", "input")):
        if wanted and channels % wanted:
            return f"its {channels} {side} channels are no multiple of {name} = {wanted}"
    return None


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(S,): at most the shorter side of (o1·i1) × (o2·i2·k)."""
    one, other = _shapes(shape, 1, options)
    return (min(math.prod(one), math.prod(other)),)


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """S (o1·i1 + o2·i2·k)."""
    return sum(math.prod(factor) for factor in _shapes(shape, ranks[0], options))


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """S·i1·o2 (i2·k + o1) P, or S·o1·i2 (i1·Pi + o2·k·P) where that is less for Pi = P and no side of k is 1."""
    return kronecker_macs(*_shapes(shape, ranks[0], options), pixels.inp, pixels.out)


def unfoldings(weight: Tensor, *, options: Options) -> tuple[Tensor, ...]:
    """(o1·i1) × (o2·i2·k)."""
    return (rearranged(weight, _left(tuple(weight.shape), options)),)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(S, o1, i1) and (S, o2, i2, *k)."""
    factors = nearest_kronecker_sum(weight.double(), _left(tuple(weight.shape), options), ranks[0])
    return tuple(factor.to(weight.dtype) for factor in factors)


def dense(factors: Factors) -> Tensor:
    """W[o1·o2, i1·i2, k] = Σ_s A[s, o1, i1] B[s, o2, i2, k]."""
    return kronecker_sum(*factors)


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """One module, which never makes the weight."""
    one, other = factors
    return KroneckerSum(one, other, like)


def _left(shape: Shape, options: Options) -> tuple[int, int]:
    return options.out or _divisor(shape[0]), options.inp or _divisor(shape[1])


def _divisor(channels: int) -> int:
    """The least divisor from the square root on.

    >>> [_divisor(channels) for channels in (1, 7, 12, 64, 128)]
    [1, 7, 4, 8, 16]
    """
    return next(side for side in range(1, channels + 1) if side**2 >= channels and channels % side == 0)


def _shapes(shape: Shape, terms: int, options: Options) -> tuple[Any, Any]:
    (O, I, *k), (o1, i1) = shape, _left(shape, options)
    return (terms, o1, i1), (terms, O // o1, I // i1, *k)
