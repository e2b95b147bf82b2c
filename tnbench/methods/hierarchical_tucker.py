"""Hierarchical Tucker over the tree {{O, I}, {sides}}: channel pairs times spatial filters that all of them share.

W[o,i,...] = Σ_s P_s[o,i] F_s[...], where the S matrices P_s share their row and column spaces: 1×1, k×k and 1×1
convolutions whose k×k weight is expanded from rO·rI·S numbers and S filters. (The tree {{I, kH}, {kW, O}} is method
tt.) A linear layer has no filters: it becomes its truncated SVD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Factors, Pixels, Ranks, Shape, Stats
from tnbench.layers import chain, plain
from tnbench.layers.expanded import ExpandedCore
from tnbench.linalg import with_tensorly
from tnbench.linalg.hierarchical_tucker import hierarchical_tucker
from tnbench.linalg.hosvd import Solve, hosvd
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.multilinear import expanded, unfold
from tnbench.linalg.tucker import hooi
from tnbench.methods import _matrix

VERSION = 1

_SOLVERS: dict[str, Solve] = {"hooi": hooi, "hsvd": hosvd, "tensorly": with_tensorly.hooi}


@dataclass(frozen=True)
class Options:
    """`solver` of the frames of the three nodes: orthogonal iteration, singular vectors, or TensorLy's iteration."""

    solver: Literal["hooi", "hsvd", "tensorly"] = "hooi"


def refuses(layer: nn.Module) -> str | None:
    """Why no such factors stand for `layer`; None for a convolution of one group and for a linear layer."""
    return plain.refuses(layer, grouped=False)


def largest_ranks(shape: Shape) -> Ranks:
    """(rI, rO, S) for the input's and the output's channels and the filters; (R,) for a matrix."""
    if len(shape) == 2:
        return _matrix.largest_ranks(shape)
    O, I, *sides = shape
    return useful_ranks(shape, (I, O, math.prod(sides)))


def useful_ranks(shape: Shape, ranks: Ranks) -> Ranks:
    """`ranks` without what the others leave no use for: each is at most the product of the other two."""
    if len(shape) == 2:
        return ranks
    useful = tuple(min(rank, math.prod(ranks) // rank) for rank in ranks)
    return ranks if useful == ranks else useful_ranks(shape, useful)


def count(shape: Shape, ranks: Ranks) -> int:
    """I·rI + O·rO + rI·rO·S + S·k."""
    if len(shape) == 2:
        return _matrix.count(shape, ranks)
    O, I, *sides = shape
    rI, rO, S = useful_ranks(shape, ranks)
    return I * rI + O * rO + rI * rO * S + S * math.prod(sides)


def macs(shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
    """I·rI·Pi + (rI·rO·k + rO·O) P."""
    if len(shape) == 2:
        return _matrix.macs(shape, ranks, pixels)
    O, I, *sides = shape
    rI, rO, _ = useful_ranks(shape, ranks)
    return I * rI * pixels.inp + (rI * rO * math.prod(sides) + rO * O) * pixels.out


def unfoldings(weight: Tensor) -> tuple[Tensor, ...]:
    """I × (O·k), O × (I·k) and k × (O·I)."""
    return (weight,) if weight.dim() == 2 else tuple(unfold(weight.flatten(2), mode) for mode in (1, 0, 2))


def factorise(
    weight: Tensor,
    ranks: Ranks,
    *,
    seed: int,
    options: Options,
    stats: Stats | None = None,
    start: Factors | None = None,
) -> Factors:
    """(rI, I, 1, ...), the pairs (rO, rI, S), the filters (S, 1, *k) and (O, rO, 1, ...)."""
    if weight.dim() == 2:
        return _matrix.factorise(weight, ranks, with_tensorly.low_rank if options.solver == "tensorly" else low_rank)
    rI, rO, S = useful_ranks(tuple(weight.shape), ranks)
    tree = hierarchical_tucker(_matrix.working(weight), (rO, rI, S), _SOLVERS[options.solver])
    pointwise = (1,) * (weight.dim() - 2)
    factors = (
        tree.inp.T.reshape(rI, -1, *pointwise),
        tree.pairs,
        tree.filters[:, None],
        tree.out.reshape(-1, rO, *pointwise),
    )
    return tuple(factor.to(weight.dtype).contiguous() for factor in factors)


def dense(factors: Factors) -> Tensor:
    """W[o,i,...] = Σ_s Σ_ab out[o,b] pairs[b,a,s] inp[a,i] filters[s,...]."""
    if len(factors) == 2:
        return _matrix.dense(factors)
    inp, pairs, filters, out = factors
    return expanded(_kernel(pairs, filters), (out.flatten(1), inp.flatten(1).T), (0, 1))


def layer(factors: Factors, like: nn.Module) -> nn.Module:
    """The module with the factors as its parameters; for a linear layer, two linear layers."""
    return chain.chain(factors, like) if len(factors) == 2 else ExpandedCore(factors, _kernel, like)


def _kernel(pairs: Tensor, filters: Tensor) -> Tensor:
    kernel: Tensor = torch.tensordot(pairs, filters[:, 0], dims=1)
    return kernel
