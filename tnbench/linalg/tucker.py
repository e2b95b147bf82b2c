"""Tucker decompositions over any set of modes: higher-order orthogonal iteration from a sequential HOSVD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.hosvd import small_sides_first
from tnbench.linalg.low_rank import gram_left, leading_left, resolution
from tnbench.linalg.multilinear import mode_product, unfold

Bases = dict[int, Tensor]
"""Mode -> orthonormal columns (n, r)."""


def tucker2(
    tensor: Tensor, ranks: tuple[int, int], *, max_sweeps: int = 50, tolerance: float = 3e-4
) -> tuple[Tensor, Tensor, Tensor]:
    """Core (r_0, r_1, ...) and orthonormal factors (n_0, r_0), (n_1, r_1) of `tensor` (n_0, n_1, ...): see `hooi`."""
    # With one mode first and the other one last, neither products nor Gram matrices need a copy of the tensor.
    last = tensor.dim() - 1
    core, (first, second) = hooi(
        tensor.movedim(1, last).contiguous(), ranks, (0, last), max_sweeps=max_sweeps, tolerance=tolerance
    )
    return core.movedim(last, 1).contiguous(), first, second


def hooi(
    tensor: Tensor, ranks: Sequence[int], modes: Sequence[int], *, max_sweeps: int = 50, tolerance: float = 3e-4
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Core and orthonormal factors (n_j, r_j) for `modes` of `tensor`, float32 or float64; other modes are kept.

    HOOI of De Lathauwer, De Moor and Vandewalle, "On the best rank-1 and rank-(R1, ..., RN) approximation" (2000),
    from the sequentially truncated HOSVD. A basis is not solved for anew but sharpened by a Chebyshev filter (Zhou,
    Saad, Tiago and Chelikowsky 2006): what is left to gain by an exact one is lost again as soon as the other bases
    move. It stops when a sweep over all modes lowers the error by less than `tolerance` of itself, or when all sweeps
    to come would together gain less than half of that if each gains less than the last by the same factor.

    A mode whose rank is its side gets the identity. A float32 tensor that is left with too small an error for float32
    is worked on in float64.
    """
    cut = {mode: rank for mode, rank in zip(modes, ranks, strict=True) if rank < tensor.shape[mode]}
    found = _best(tensor, cut, max_sweeps, tolerance)
    whole = {mode: torch.eye(tensor.shape[mode], dtype=tensor.dtype, device=tensor.device) for mode in modes}
    bases = whole | {mode: basis.to(tensor.dtype) for mode, basis in found.bases.items()}
    return found.core.to(tensor.dtype), tuple(bases[mode] for mode in modes)


class _Found(NamedTuple):
    """Bases for some modes, the tensor's coordinates in them, and ||X - X~|| / ||X||."""

    bases: Bases
    core: Tensor
    error: float


def _best(tensor: Tensor, ranks: Mapping[int, int], max_sweeps: int, tolerance: float) -> _Found:
    energy = _energy(tensor)
    found, settled = _start(tensor, ranks, energy)
    if tensor.dtype != torch.float64 and found.error**2 <= resolution(tensor.dtype):
        tensor = tensor.double()
        found = _start(tensor, ranks, energy)[0] if settled else _reopened(tensor, found, energy)
    return found if settled else _iterated(tensor, found, energy, max_sweeps, tolerance)


def _start(tensor: Tensor, ranks: Mapping[int, int], energy: float) -> tuple[_Found, bool]:
    """What the sequentially truncated HOSVD finds, and whether it is the best already.

    It is where no more than one truncation leaves anything out: that one is then the best (Eckart and Young).
    """
    bases, losses, core = Bases(), 0, tensor
    for mode in small_sides_first(tensor, list(ranks)):
        matrix, rank = unfold(core, mode), ranks[mode]
        losses += rank < min(matrix.shape)
        bases[mode] = leading_left(matrix, rank) if tensor.dtype == torch.float64 else gram_left(matrix, rank)[0]
        core = mode_product(core, bases[mode].T, mode)
    return _Found(bases, core, _left_out(_energy(core), energy)), losses <= 1


def _reopened(tensor: Tensor, found: _Found, energy: float) -> _Found:
    """The same in the precision of `tensor`."""
    bases = {mode: torch.linalg.qr(basis.to(tensor.dtype)).Q for mode, basis in found.bases.items()}
    core = _projected(tensor, bases)
    return _Found(bases, core, _left_out(_energy(core), energy))


def _iterated(tensor: Tensor, found: _Found, energy: float, max_sweeps: int, tolerance: float) -> _Found:
    """What one update after another leads to, until a round of them lowers the error by less than `tolerance`."""
    bases, order, errors = dict(found.bases), small_sides_first(tensor, list(found.bases)), [found.error]
    projected, mode = found.core, None
    for mode in islice(cycle(order), max_sweeps * len(order)):
        projected = _projected(tensor, {other: bases[other] for other in order if other != mode})
        bases[mode], held = _updated(unfold(projected, mode), bases[mode], errors[-1])
        errors.append(_left_out(held, energy))
        if _idle(errors, len(order), tolerance):
            break
    core = projected if mode is None else mode_product(projected, bases[mode].T, mode)
    return _Found(bases, core, errors[-1])


def _idle(errors: Sequence[float], modes: int, tolerance: float) -> bool:
    """Whether the last round gained little, or all to come would: each less than the last by the same factor."""
    if len(errors) < modes + 2:
        return errors[-1] == 0
    gain, before = errors[-1 - modes] - errors[-1], errors[-2 - modes] - errors[-2]
    rate = (gain / before) ** modes if 0 < gain < before else 1.0
    return gain <= tolerance * errors[-1] or gain * rate <= tolerance / 2 * errors[-1] * (1 - rate)


def _updated(matrix: Tensor, basis: Tensor, error: float) -> tuple[Tensor, float]:
    """Orthonormal columns (n, r) and the energy of `matrix` (n, N) in them, which is at least that in `basis`."""
    if matrix.shape[0] > matrix.shape[1] or error**2 <= resolution(matrix.dtype):
        return _exact(matrix, basis.shape[1])
    gram = matrix @ matrix.T
    product = gram @ basis
    ritz = torch.linalg.eigvalsh(basis.T @ product)
    least, most = float(ritz[0]), float(ritz[-1])
    if least <= resolution(matrix.dtype) * most:
        return _exact(matrix, basis.shape[1])
    # Chebyshev polynomials stay within 1 below the least Ritz value and grow ever faster above it, so no Ritz value
    # falls. The second one needs room for its square in the digits.
    half = least / 2
    filtered = product / half - basis
    if (4 * most / least) ** 2 * torch.finfo(matrix.dtype).eps < 1:
        filtered = 2 * (gram @ filtered / half - filtered) - basis
    sharpened = torch.linalg.qr(filtered).Q
    return sharpened, float((sharpened * (gram @ sharpened)).sum(dtype=torch.float64))


def _exact(matrix: Tensor, rank: int) -> tuple[Tensor, float]:
    left = leading_left(matrix, rank)
    return left, _energy(left.T @ matrix)


def _projected(tensor: Tensor, bases: Bases) -> Tensor:
    """The tensor's coordinates in `bases`, those first that make it smallest."""
    for mode in sorted(bases, key=lambda mode: bases[mode].shape[1] / bases[mode].shape[0]):
        tensor = mode_product(tensor, bases[mode].T, mode)
    return tensor


def _left_out(held: float, energy: float) -> float:
    """The relative error of an orthogonal projection, which leaves out exactly the energy that it does not hold."""
    return max(0.0, 1 - held / energy) ** 0.5 if energy > 0 else 0.0


def _energy(tensor: Tensor) -> float:
    return float(tensor.square().sum(dtype=torch.float64))
