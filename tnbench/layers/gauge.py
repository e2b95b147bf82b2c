"""Gauges of a factorisation: other factors of the same weight, from which gradient descent takes another path.

Between two factors any invertible matrix can be put together with its inverse. Factors are *balanced* where both sides
of each channel have equal norms, which gradient flow keeps so (Du, Hu and Lee, "Algorithmic regularization in learning
deep homogeneous models", 2018); or all but one are *orthogonal*, so that one carries all scales, as in a truncated SVD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

import torch
from torch import Tensor

from tnbench.core.protocols import Factors

Kind = Literal["balanced", "orthogonal", "raw"]

_SWEEPS = 200
_TOLERANCE = 1e-10


def regauge(factors: Sequence[Tensor], kind: Kind, *, channels: int | None = None) -> Factors:
    """Factors of the same shapes and dtype whose chain computes the same.

    They are those of `tnbench.layers.chain`: (out, in) or (out, in / groups, *k), first applied first. `channels`
    arrive at the first one; by default it is one of a single group.

    - ``balanced``: on each channel between two factors, what leads to it has the norm of what leads away from it. This
      makes the sum of the factors' squares the least that scaling of channels can reach. A channel of which one side
      is zero stays as it is.
    - ``orthogonal``: all factors but the one with the largest kernel (the last of those) have orthonormal columns
      towards it, per block where groups divide a bond, and of unit norm where a depthwise factor leaves no more.
    - ``raw``: as they are.

    >>> first, second = regauge([torch.full((1, 4), 8.0), torch.full((1, 1), 4.0)], "balanced")
    >>> float(first.norm()), float(second.norm())
    (8.0, 8.0)
    """
    if kind == "raw" or len(factors) < 2:
        return tuple(factors)
    wide = [_Factor.of(factor, groups) for factor, groups in zip(factors, _groups(factors, channels), strict=True)]
    changed = _balanced(wide) if kind == "balanced" else _orthogonal(wide)
    return tuple(new.reshape(old.shape).to(old.dtype) for new, old in zip(changed, factors, strict=True))


def spread(factors: Sequence[Tensor]) -> Factors:
    """Factors of equal Frobenius norm, each times a number whose product is 1: the same in every multilinear format.

    Where one of them is zero they stay as they are.

    >>> one, two = spread([torch.tensor([8.0]), torch.tensor([2.0])])
    >>> float(one), float(two)
    (4.0, 4.0)
    """
    norms = [float(factor.double().norm()) for factor in factors]
    if not all(norms):
        return tuple(factors)
    mean = math.exp(math.fsum(map(math.log, norms)) / len(norms))
    return tuple(
        (factor.double() * (mean / norm)).to(factor.dtype) for factor, norm in zip(factors, norms, strict=True)
    )


def _groups(factors: Sequence[Tensor], channels: int | None) -> list[int]:
    arriving = [channels or factors[0].shape[1], *(factor.shape[0] for factor in factors[:-1])]
    return [many // factor.shape[1] for many, factor in zip(arriving, factors, strict=True)]


class _Factor:
    """One factor in float64, (groups, out / groups, in / groups, k)."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def of(cls, factor: Tensor, groups: int) -> Self:
        out, inner, *sides = factor.shape
        return cls(factor.double().reshape(groups, out // groups, inner, math.prod(sides)))

    def sizes(self) -> _Factor:
        """What is left of it where only norms matter: one number for each pair of channels."""
        return _Factor(self.values.norm(dim=3, keepdim=True))

    @property
    def positions(self) -> int:
        return self.values.shape[3]

    @property
    def out_per_group(self) -> int:
        return self.values.shape[1]

    @property
    def in_per_group(self) -> int:
        return self.values.shape[2]

    def outputs(self, block: int) -> Tensor:
        """(blocks, block, in / groups · k): the rows of `block` output channels each."""
        return self.values.reshape(-1, block, self.in_per_group * self.positions)

    def set_outputs(self, rows: Tensor) -> None:
        self.values = rows.reshape(self.values.shape)

    def inputs(self, block: int) -> Tensor:
        """(blocks, block, out / groups · k): the columns of `block` input channels each."""
        split = self.values.reshape(*self.values.shape[:2], -1, block, self.positions)
        return split.permute(0, 2, 3, 1, 4).reshape(-1, block, self.out_per_group * self.positions)

    def set_inputs(self, columns: Tensor) -> None:
        groups, out, inner, positions = self.values.shape
        self.values = columns.reshape(groups, inner, out, positions).transpose(1, 2).contiguous()


def _balanced(factors: list[_Factor]) -> list[Tensor]:
    scales = _balancing([factor.sizes() for factor in factors])
    for before, after, scale in zip(factors[:-1], factors[1:], scales, strict=True):
        before.set_outputs(before.outputs(1) * scale)
        after.set_inputs(after.inputs(1) / scale)
    return [factor.values for factor in factors]


def _balancing(sizes: list[_Factor]) -> list[Tensor]:
    """(channels, 1, 1) for each bond: what to multiply what leads to it by.

    The bonds take turns, which is coordinate descent on a convex function of the scales' logarithms.
    """
    scales = [size.values.new_ones(1) for size in sizes[:-1]]
    for _ in range(_SWEEPS):
        moved = 0.0
        for bond, (before, after) in enumerate(pairwise(sizes)):
            rows, columns = before.outputs(1), after.inputs(1)
            ratio = columns.norm(dim=(1, 2)) / rows.norm(dim=(1, 2))
            scale = torch.where((ratio > 0) & ratio.isfinite(), ratio, 1.0).sqrt()[:, None, None]
            before.set_outputs(rows * scale)
            after.set_inputs(columns / scale)
            scales[bond] = scales[bond] * scale
            moved = max(moved, float((scale - 1).abs().max()))
        if moved <= _TOLERANCE:
            break
    return scales


def _orthogonal(factors: list[_Factor]) -> list[Tensor]:
    centre = max(range(len(factors)), key=lambda index: (factors[index].positions, index))
    for before, after in pairwise(factors[: centre + 1]):
        block = _block(before, after, before.in_per_group * before.positions)
        orthonormal, rest = _orthonormal(before.outputs(block))
        before.set_outputs(orthonormal)
        after.set_inputs(rest @ after.inputs(block))
    for before, after in reversed(list(pairwise(factors[centre:]))):
        block = _block(before, after, after.out_per_group * after.positions)
        orthonormal, rest = _orthonormal(after.inputs(block))
        after.set_inputs(orthonormal)
        before.set_outputs(rest @ before.outputs(block))
    return [factor.values for factor in factors]


def _block(before: _Factor, after: _Factor, length: int) -> int:
    """How many neighbouring channels may be mixed: those in one group of both factors, and no more than `length`."""
    block = math.gcd(before.out_per_group, after.in_per_group)
    return block if block <= length else 1


def _orthonormal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (blocks, n, m) as R' times orthonormal rows, and R (blocks, n, n), whose diagonal is not negative."""
    basis, triangle = torch.linalg.qr(rows.transpose(1, 2))
    signs = torch.where(triangle.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).to(rows.dtype)
    return basis.transpose(1, 2) * signs[:, :, None], triangle * signs[:, :, None]
