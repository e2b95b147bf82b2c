"""Tensor trains of fixed ranks as a manifold: tangent vectors as trains of twice the ranks, and retraction by rounding.

Holtz, Rohwedder and Schneider, "On manifolds of tensors of fixed TT-rank" (2012), and Lubich, Oseledets and
Vandereycken, "Time integration of tensor trains" (2015). All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.tt import contract, tt_svd
from tnbench.linalg.tt_rounding import right_orthonormal, tt_round

Cores = tuple[Tensor, ...]


class TrainPoint(NamedTuple):
    """One train twice, as cores (r_{j-1}, n_j, r_j): all but the last of `left` are orthonormal, all but the first of
    `right`.
    """

    left: Cores
    right: Cores

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(core.shape[2] for core in self.left[:-1])

    @property
    def tensor(self) -> Tensor:
        """The tensor itself."""
        return contract(self.left)


def nearby_train(tensor: Tensor, ranks: Sequence[int]) -> TrainPoint:
    """A point of these ranks near `tensor`: its TT-SVD."""
    return point_of_cores(tt_round(tt_svd(tensor.double(), ranks), ranks=ranks))


def tangent(point: TrainPoint, ambient: Tensor) -> Cores:
    """The variations of the cores, of their shapes, whose tangent vector is nearest to `ambient` (n_1, ..., n_d).

    Each but the last is orthogonal to its core (the gauge in which they are unique): what a variation is against the
    left-orthonormal cores before it and the right-orthonormal cores behind it, less its component along its core.
    """
    variations = []
    rest = ambient.double()[None]  # (r, n_j, ..., n_d), against the left cores so far
    for place, core in enumerate(point.left):
        variation = _against_right(rest, point.right[place + 1 :])
        if place + 1 < len(point.left):
            flat, along = core.flatten(0, 1), variation.flatten(0, 1)
            variation = (along - flat @ (flat.T @ along)).reshape(variation.shape)
            rest = torch.tensordot(core, rest, dims=([0, 1], [0, 1]))
        variations.append(variation)
    return tuple(variations)


def tangent_tensor(point: TrainPoint, variations: Cores) -> Tensor:
    """The tangent vector (n_1, ..., n_d) of the variations."""
    return contract(_summed(point, variations, itself=False))


def retracted(point: TrainPoint, variations: Cores) -> TrainPoint:
    """The point of equal ranks near the point + tangent vector: their sum, a train of twice the ranks, rounded.

    A retraction: Steinlechner, "Riemannian optimization for high-dimensional tensor completion" (2016).
    """
    return point_of_cores(tt_round(_summed(point, variations, itself=True), ranks=point.ranks))


def point_of_cores(left: Cores) -> TrainPoint:
    """The point of a train whose cores but the last are orthonormal already."""
    return TrainPoint(left, tuple(right_orthonormal(left)))


def _against_right(tensor: Tensor, cores: Cores) -> Tensor:
    """(r, n, n_{j+1}, ..., n_d) against the cores of the last modes: (r, n, r')."""
    tensor = tensor[..., None]
    for core in reversed(cores):
        tensor = torch.tensordot(tensor, core, dims=([-2, -1], [1, 2]))
    return tensor


def _summed(point: TrainPoint, variations: Cores, *, itself: bool) -> Cores:
    """Cores of the tangent vector, or of it and the point `itself`: blocks [[right, 0], [variation, left]].

    Before a variation the train runs along the left cores, behind it along the right ones.
    """
    (*lefts, left), (*_, right), (*varied, variation) = point.left, point.right, variations
    blocks = [
        torch.cat([torch.cat([behind, torch.zeros_like(before)], dim=2), torch.cat([here, before], dim=2)])
        for before, behind, here in zip(lefts, point.right[:-1], varied, strict=True)
    ]
    first = torch.cat([varied[0], lefts[0]], dim=2)
    return first, *blocks[1:], torch.cat([right, variation + left if itself else variation])
