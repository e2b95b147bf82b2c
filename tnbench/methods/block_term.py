"""Block terms: a sum of Tucker-2 blocks, as a 1×1, a grouped k×k (one group per block) and a 1×1 convolution.

De Lathauwer, "Decompositions of a higher-order tensor in block terms, part II" (2008); for kernels, Chen, Jin, Kang,
Feng and Yan, "Sharing residual units through collective tensor factorization to improve deep neural networks" (2018).
A matrix's blocks add up to one matrix of low rank: linear layers and 1×1 kernels become their truncated SVD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain
from tnbench.linalg.block_term import Blocks, assembled, block_term, tiles
from tnbench.linalg.low_rank import low_rank
from tnbench.methods import _matrix

VERSION = 1

refuses = chain.refuses
layer = chain.chain


@dataclass(frozen=True)
class Options:
    """`blocks` of equal ranks, found by at most `iters` sweeps of alternating least squares."""

    blocks: int = 4
    iters: int = 50

    def __post_init__(self) -> None:
        for name, got in (("blocks", self.blocks), ("iters", self.iters)):
            if got < 1:
                raise UsageError(f"method block_term: got {name} = {got}, wanted a whole number from 1 on")


def _is_matrix(shape: Shape) -> bool:
    return math.prod(shape[2:]) == 1


def largest_ranks(shape: Shape, *, options: Options) -> Ranks:
    """(R1, R2) of each block for the input's and the output's channels, one tile of their grid; (R,) for a matrix."""
    if _is_matrix(shape):
        return _matrix.largest_ranks(shape)
    rows, columns = tiles((shape[0], shape[1]), options.blocks)
    return useful_ranks(shape, (columns, rows))


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the other one leaves no use for: a core (R2, R1·k) has at most full rank."""
    if _is_matrix(shape):
        return ranks
    k = math.prod(shape[2:])
    R1, R2 = ranks
    return min(R1, R2 * k), min(R2, R1 * k)


def count(shape: Shape, ranks: Ranks, *, options: Options) -> int:
    """B (I·R1 + R1·R2·k + R2·O)."""
    return macs(shape, ranks, Pixels.ones(shape), options=options)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels, *, options: Options) -> int:
    """B (I·R1·Pi + (R1·R2·k + R2·O) P)."""
    if _is_matrix(shape):
        return _matrix.macs(shape, ranks, pixels)
    O, I, *sides = shape
    R1, R2 = useful_ranks(shape, ranks)
    return options.blocks * (I * R1 * pixels.inp + (R1 * R2 * math.prod(sides) + R2 * O) * pixels.out)


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(B·R1, I, 1, ...), (B·R2, R1, *k) and (O, B·R2, 1, ...); for a matrix (R, I, ...) and (O, R, ...)."""
    shape = tuple(weight.shape)
    if _is_matrix(shape):
        return _matrix.factorise(weight, ranks, low_rank)
    R1, R2 = useful_ranks(shape, ranks)
    begin = None if start is None else _blocks(tuple(factor.double() for factor in start))
    found = block_term(weight.double(), (R2, R1), options.blocks, start=begin, max_sweeps=options.iters)
    pointwise = (1,) * (weight.dim() - 2)
    factors = (
        found.inp.transpose(1, 2).reshape(-1, shape[1], *pointwise),
        found.cores.flatten(0, 1),
        found.out.transpose(0, 1).reshape(shape[0], -1, *pointwise),
    )
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def _blocks(factors: Factors) -> Blocks:
    inp, cores, out = factors
    blocks = len(inp) // cores.shape[1]
    return Blocks(
        cores.unflatten(0, (blocks, -1)),
        out.flatten(1).unflatten(1, (blocks, -1)).transpose(0, 1),
        inp.flatten(1).unflatten(0, (blocks, -1)).transpose(1, 2),
    )


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ_n Σ_ab out[o,(n,b)] core[(n,b),a,...] inp[(n,a),i]."""
    return _matrix.dense(factors) if len(factors) == 2 else assembled(_blocks(factors))
