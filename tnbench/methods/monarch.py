"""Monarch: block-diagonal, permutation, block-diagonal, for linear layers and 1×1 convolutions.

Dao, Chen, Sohoni, Desai, Poli, Grogan, Liu, Rao, Rudra and Ré, "Monarch: expressive structured matrices for efficient
and accurate training" (2022). The matrix is a grid of l × k blocks (q, p), each of rank r; theirs is r = 1 on a grid of
√N × √N. Few blocks and a free r instead give ranks something to scale: r <= min(p, q) is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import monarch as layers
from tnbench.layers import plain
from tnbench.linalg import monarch as linalg

VERSION = 1
POOLED = True


@dataclass(frozen=True)
class Options:
    """`blocks`: how many each side is divided into; 0 takes for each the proper divisor nearest to its cube root."""

    blocks: int = 0

    def __post_init__(self) -> None:
        if self.blocks < 0 or self.blocks == 1:
            raise UsageError(
                f"method monarch: got blocks = {self.blocks}, wanted a divisor of both sides from 2 on, or 0"
            )


def refuses(layer: nn.Module, *, options: Options) -> str | None:
    """Why there are no blocks: a kernel, groups, or a side that does not divide."""
    if reason := plain.refuses(layer, grouped=False):
        return reason
    O, I, *kernel = cast(Tensor, layer.weight).shape
    if math.prod(kernel) > 1:
        return f"its kernel is {'×'.join(map(str, kernel))}, wanted a 1×1 convolution or a linear layer"
    for channels, side in ((O, "output"), (I, "input")):
        if options.blocks and (channels % options.blocks or channels == options.blocks):
            return f"its {channels} {side} channels do not divide into {options.blocks} blocks of several"
        if not _proper_divisors(channels):
            return f"its {channels} {side} channels do not divide into blocks"
    return None


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(r,): the shorter side of a block."""
    l, k = _grid(shape, options)
    return (min(shape[0] // l, shape[1] // k),)


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """r (l·I + k·O)."""
    l, k = _grid(shape, options)
    return ranks[0] * (l * shape[1] + k * shape[0])


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """r (l·I + k·O) P."""
    return count(shape, ranks, options=options) * pixels.out


def unfoldings(weight: Tensor, *, options: Options) -> tuple[Tensor, ...]:
    """A diagonal matrix: the j-th singular values of all blocks, which r cuts together, as one energy."""
    values = torch.linalg.svdvals(linalg.blocks(weight.flatten(1), _grid(tuple(weight.shape), options)))
    return (torch.diag(values.square().sum((0, 1)).sqrt()),)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(k, r, l, p, 1, ...), with the kernel's sides of 1, and (l, q, k, r)."""
    first, second = linalg.nearest_monarch(weight.double().flatten(1), _grid(tuple(weight.shape), options), ranks[0])
    return first.reshape(*first.shape, *weight.shape[2:]).to(weight.dtype), second.to(weight.dtype)


def dense(factors: Factors) -> Tensor:
    """W[q·l, k·p] = Σ_r first[k, r, l, p] second[l, q, k, r]."""
    first, second = factors
    matrix = linalg.monarch(first.flatten(3), second)
    return matrix.reshape(*matrix.shape, *first.shape[4:])


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """Plain grouped convolutions and shuffles for a convolution, one module for a linear layer."""
    first, second = factors
    return layers.monarch(first.flatten(3), second, like)


def _grid(shape: Shape, options: Options) -> tuple[int, int]:
    """(l, k): blocks of the output's and of the input's channels."""
    return options.blocks or _blocks(shape[0]), options.blocks or _blocks(shape[1])


def _blocks(channels: int) -> int:
    """The proper divisor nearest to the cube root, of two the smaller.

    >>> [_blocks(channels) for channels in (6, 16, 64, 256, 512)]
    [2, 2, 4, 8, 8]
    """
    return min(_proper_divisors(channels), key=lambda divisor: abs(divisor - channels ** (1 / 3)))


def _proper_divisors(channels: int) -> list[int]:
    return [divisor for divisor in range(2, channels) if channels % divisor == 0]
