"""How well-behaved a sum of rank-one terms is: congruence, cancellation, and sensitivity to errors in the columns.

Columns are one matrix (n_j, R) per mode, two modes or more, as `tnbench.linalg.cp` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.linalg.cp import Columns


def congruence(columns: Sequence[Tensor]) -> float:
    """The largest |product over the modes of the cosines| between two different terms; 0 for a single term.

    It nears 1 where a decomposition degenerates: two terms grow alike, and large, with opposite signs (Mitchell and
    Burdick, "Slowly converging PARAFAC sequences: swamps and two-factor degeneracies", 1994). Terms of size zero
    count as 0.

    >>> parallel = torch.tensor([[1.0, -2.0], [1.0, -2.0]])
    >>> round(congruence([parallel, parallel, torch.eye(2)]), 6)
    0.0
    >>> round(congruence([parallel, parallel, parallel]), 6)
    1.0
    """
    units = [matrix / _above_zero(matrix.norm(dim=0)) for matrix in columns]
    cosines = torch.stack([unit.T @ unit for unit in units]).prod(dim=0).abs()
    return float(cosines.fill_diagonal_(0).max())


def cancellation(columns: Sequence[Tensor], norm: float | Tensor) -> float:
    """Sum of the norms of the rank-one terms, divided by the `norm` of the kernel that they are to add up to.

    About 1 where the terms add up, large where they cancel: the sum is at least the norm of what they add up to (the
    degeneracy measure of Krijnen, Dijkstra and Stegeman, "On the non-existence of optimal solutions and the
    occurrence of degeneracy in the CANDECOMP/PARAFAC model", 2008). For a kernel of zeros it is 0 where the terms are
    zeros too, and infinite elsewhere.
    """
    total, norm = float(_sizes(columns).sum()), float(norm)
    if norm == 0:
        return math.inf if total else 0.0
    return total / norm


def sensitivity(columns: Sequence[Tensor]) -> float:
    """The least sensitivity that scaling the columns within each term can give: that of `least_sensitive(columns)`.

    With N modes, it is N (Π_j n_j)^(1/N) Σ_r λ_r^(2(N-1)/N), λ_r the norm of term r. See `raw_sensitivity`.

    >>> terms = [torch.tensor([[3.0]]), torch.tensor([[2.0], [0.0]])]
    >>> raw_sensitivity(terms), round(sensitivity(terms), 4)
    (22.0, 16.9706)
    """
    modes, sides = len(columns), math.prod(matrix.shape[0] for matrix in columns)
    shared = (_sizes(columns) ** (2 * (modes - 1) / modes)).sum()
    return float(modes * sides ** (1 / modes) * shared)


def raw_sensitivity(columns: Sequence[Tensor]) -> float:
    """Expected squared error of the tensor per variance of small independent errors in all entries of `columns`.

    Σ_j n_j Σ_r Π_{i≠j} ‖a_ir‖² for columns a_jr of n_j entries: I Σ‖b‖²‖c‖² + J Σ‖a‖²‖c‖² + K Σ‖a‖²‖b‖² in three
    modes (Phan, Sobolev, Sozykin, Ermilov, Gusak, Tichavský, Glukhov, Oseledets and Cichocki, "Stable low-rank tensor
    decomposition for compression of convolutional neural network", 2020).
    """
    energies = [matrix.square().sum(dim=0) for matrix in columns]
    total = torch.zeros_like(energies[0])
    for mode, matrix in enumerate(columns):
        others = [energy for other, energy in enumerate(energies) if other != mode]
        total = total + matrix.shape[0] * torch.stack(others).prod(dim=0)
    return float(total.sum())


def least_sensitive(columns: Sequence[Tensor]) -> Columns:
    """The same terms, scaled within each term so that `raw_sensitivity` is least.

    By the inequality of arithmetic and geometric means that is where ‖a_jr‖² is in proportion to n_j: the root mean
    square of a term's entries is then the same in all modes.
    """
    norms = [matrix.norm(dim=0) for matrix in columns]
    sides = [matrix.shape[0] for matrix in columns]
    level = (torch.stack(norms).prod(dim=0) / math.prod(sides) ** 0.5) ** (1 / len(sides))
    return tuple(
        matrix * (level * side**0.5 / _above_zero(norm))
        for matrix, norm, side in zip(columns, norms, sides, strict=True)
    )


def _sizes(columns: Sequence[Tensor]) -> Tensor:
    """(R,): the norms of the rank-one terms."""
    return torch.stack([matrix.norm(dim=0) for matrix in columns]).prod(dim=0)


def _above_zero(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, norms, 1.0)
