"""Tensors of one multilinear rank as a manifold: tangent vectors, retraction, and steps that choose the rank anew.

A point is a tensor in Tucker format over some of its modes, a matrix of rank r over both. Koch and Lubich, "Dynamical
tensor approximation" (2010), has the tangent space. All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.hosvd import st_hosvd
from tnbench.linalg.multilinear import expanded, mode_product, unfold
from tnbench.linalg.tt_rounding import least_rank


class TuckerPoint(NamedTuple):
    """A core and one orthonormal basis (n_j, r_j) for each of `modes`; other modes of the core keep their sides."""

    core: Tensor
    bases: tuple[Tensor, ...]
    modes: tuple[int, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(basis.shape[1] for basis in self.bases)

    @property
    def tensor(self) -> Tensor:
        """The tensor itself."""
        return expanded(self.core, self.bases, self.modes)


def nearby_point(tensor: Tensor, ranks: Sequence[int], modes: Sequence[int]) -> TuckerPoint:
    """A point of these ranks near `tensor`: its sequentially truncated HOSVD, the best one of a matrix."""
    return TuckerPoint(*st_hosvd(tensor.double(), ranks, modes), tuple(modes))


def tangent(point: TuckerPoint, ambient: Tensor) -> Tensor:
    """The orthogonal projection of `ambient`, of the tensor's shape, onto the tangent space at `point`."""
    within = _restricted(ambient.double(), point.bases, point.modes)
    found = expanded(within, point.bases, point.modes)
    for place in range(len(point.modes)):
        turned = _without(point.bases[place], _moved_basis(point, ambient, place))
        bases = (*point.bases[:place], turned, *point.bases[place + 1 :])
        found = found + expanded(point.core, bases, point.modes)
    return found


def retracted(point: TuckerPoint, step: Tensor) -> TuckerPoint:
    """The point of equal ranks near `point` + `step`, for a tangent `step`.

    The truncated HOSVD, a retraction of second order (Kressner, Steinlechner and Vandereycken, "Low-rank tensor
    completion by Riemannian optimization", 2014). A tangent vector leaves the bases by at most r_j columns each, so
    only a core of twice the ranks is decomposed.
    """
    wider = _wider(point, [_moved_basis(point, step, place) for place in range(len(point.modes))])
    return _truncated(point.tensor + step, wider, point.modes, point.ranks)


def rank_adaptive_step(point: TuckerPoint, step: Tensor, *, tolerance: float, most: Sequence[int]) -> TuckerPoint:
    """One step of dynamical low-rank training from `point`, where `step` is what plain descent would add.

    For a matrix that is Algorithm 1 of Schotthöfer, Zangrando, Kusch, Ceruti and Tudisco, "Low-rank lottery tickets"
    (2022), with one Euler step each: K = U S + D V and L = V S' + D' U for the step D, bases of [U, K] and [V, L], the
    Galerkin step of S between these, and truncation. For more modes it is that of Zangrando, Schotthöfer, Ceruti, Kusch
    and Tudisco, "Geometry-aware training of factorized layers in tensor Tucker format" (2024). The least ranks are
    kept at which what is cut is within `tolerance` of the norm of the tensor, and no more than `most`.
    """
    wider = _wider(point, [_k_step(point, step, place) for place in range(len(point.modes))])
    return _truncated(point.tensor + step, wider, point.modes, most, tolerance)


def _restricted(tensor: Tensor, bases: Sequence[Tensor], modes: Sequence[int]) -> Tensor:
    """Coordinates of the tensor in the bases."""
    return expanded(tensor, [basis.T for basis in bases], modes)


def _against_others(point: TuckerPoint, ambient: Tensor, place: int) -> Tensor:
    """`ambient` in the coordinates of all bases but one, unfolded along that one's mode: (n_j, all else)."""
    others = [other for other in range(len(point.modes)) if other != place]
    within = _restricted(ambient.double(), [point.bases[j] for j in others], [point.modes[j] for j in others])
    return unfold(within, point.modes[place])


def _moved_basis(point: TuckerPoint, ambient: Tensor, place: int) -> Tensor:
    """How far a step along `ambient` moves a basis (n_j, r_j), its component within the basis included."""
    inverse: Tensor = torch.linalg.pinv(unfold(point.core, point.modes[place]))
    return _against_others(point, ambient, place) @ inverse


def _k_step(point: TuckerPoint, step: Tensor, place: int) -> Tensor:
    """K (n_j, r_j) after the step: the basis times the core's triangle, and the step against an orthonormal core."""
    rows, triangle = torch.linalg.qr(unfold(point.core, point.modes[place]).T)
    found: Tensor = point.bases[place] @ triangle.T + _against_others(point, step, place) @ rows
    return found


def _without(basis: Tensor, columns: Tensor) -> Tensor:
    return columns - basis @ (basis.T @ columns)


def _wider(point: TuckerPoint, columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """For each mode an orthonormal basis of the old basis and further columns, the old one first."""
    return tuple(
        torch.linalg.qr(torch.cat([basis, _without(basis, more)], dim=1)).Q
        for basis, more in zip(point.bases, columns, strict=True)
    )


def _truncated(
    tensor: Tensor, bases: Sequence[Tensor], modes: tuple[int, ...], most: Sequence[int], tolerance: float = 0.0
) -> TuckerPoint:
    """The tensor's projection onto the bases, cut mode by mode."""
    core = _restricted(tensor.double(), bases, modes)
    # The two modes of a matrix are cut together: its second mode has nothing more to lose.
    lossy = 1 if tensor.dim() == 2 else len(modes)
    allowed = tolerance * float(core.norm()) / lossy**0.5
    kept: list[Tensor] = []
    for place, (basis, mode) in enumerate(zip(bases, modes, strict=True)):
        left, values, _ = torch.linalg.svd(unfold(core, mode), full_matrices=False)
        rank = min(most[place], kept[0].shape[1] if place >= lossy else least_rank(values, allowed))
        kept.append(basis @ left[:, :rank])
        core = mode_product(core, left[:, :rank].T, mode)
    return TuckerPoint(core, tuple(kept), modes)
