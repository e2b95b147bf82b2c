"""Error-preserving correction of a CP: of all sums of R terms with an error within a bound, one of least sensitivity.

Phan, Sobolev, Sozykin, Ermilov, Gusak, Tichavský, Glukhov, Oseledets and Cichocki, "Stable low-rank tensor
decomposition for compression of convolutional neural network" (2020): minimise Σ_j n_j Σ_r Π_{i≠j} ‖a_ir‖² subject to
‖X - X~‖ <= δ, one mode after the other. The error is the same for any scaling within a term, so after each sweep the
terms are put where scaling alone makes their sensitivity least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.cp import Columns
from tnbench.linalg.cp_diagnostics import least_sensitive, sensitivity

_PENALTIES = (0.1, 1e-2, 1e-3)
_COLD = 3e-4
"""Share of its first penalty that a relaxation ends with when its sweeps run out."""

_WINDOW = 10
_FIRST_STEP, _LEAST_STEP, _LARGEST_STEP = 0.3, 0.1, 1.5
_ROUNDING = 1e-14
"""Share of the tensor's energy by which squared errors from inner products may be wrong."""


class Correction(NamedTuple):
    """`columns`: one matrix (n_j, R) per mode, in the scaling of least sensitivity; `sweeps`: all that were run."""

    columns: Columns
    sweeps: int


class _Point(NamedTuple):
    """Terms, and their squared error."""

    terms: Columns
    squared: float


class _Walk(NamedTuple):
    """Where an iteration is, where it was, how far it jumps ahead, and the sweeps so far."""

    now: _Point
    before: Columns
    reach: float
    sweeps: int


class _Problem(NamedTuple):
    """A tensor of norm 1, its first unfolding, and the squared error allowed."""

    tensor: Tensor
    unfolded: Tensor
    allowed: float


_Solve = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Columns (n, R) from products (n, R) of the tensor with the others, Gram matrix (R, R), weights (R,), old columns."""


def cp_epc(
    tensor: Tensor,
    start: Sequence[Tensor],
    *,
    bound: float | None = None,
    relax: bool = True,
    starts: int = 1,
    seed: int = 0,
    max_sweeps: int = 800,
    tolerance: float = 1e-3,
) -> Correction:
    """The terms `start`, one (n_j, R) per mode of `tensor` (n_1, ..., n_N) in float64, made less sensitive.

    The relative error is at most `bound`, and the sensitivity at most that of `start`, which is what comes back where
    nothing better is found. By default `bound` is the error of `start`; any more gives much room. N is at least 2.

    From degenerate terms, cycling on the bound is slow and ends in poor minima. So the terms are first relaxed: sweeps
    of least squares with a penalty on the sensitivity, heavy at first and ever lighter, until the error is within the
    bound. Then the modes are cycled on the bound, until ten sweeps lower the sensitivity by less than `tolerance` of
    itself. Both jump ahead along the last step, as `tnbench.linalg.cp.cp_als` does. `relax=False` only cycles, from
    `start`. More `starts` than one are random ones, drawn from `seed`; the best is kept. `max_sweeps` is for each: with
    more of them penalties fall more slowly, which mostly ends in less sensitive terms.

    Raises ValueError where the error of `start` is above `bound`.
    """
    norm, error = float(tensor.norm()), relative_error(tensor, start)
    bound = error if bound is None else bound
    if error > bound:
        raise ValueError(f"bound: got {bound:g}, wanted at least the error of the start, {error:g}")
    begun = least_sensitive(start)
    allowed = bound**2 * (1 - 1e-9) - _ROUNDING
    if norm == 0 or bound >= 1:
        return Correction(tuple(torch.zeros_like(matrix) for matrix in begun), 0)
    if allowed <= 0:
        return Correction(begun, 0)
    order = sorted(range(tensor.dim()), key=lambda mode: -tensor.shape[mode])
    ordered = tensor.permute(order).contiguous() / norm
    problem = _Problem(ordered, ordered.flatten(1), allowed)
    scaled = tuple(begun[mode] / norm ** (1 / len(order)) for mode in order)
    found, sweeps = _best(problem, scaled, relax, starts, seed, max_sweeps, tolerance)
    columns = tuple(found[order.index(mode)] * norm ** (1 / len(order)) for mode in range(len(order)))
    better = relative_error(tensor, columns) <= bound and sensitivity(columns) < sensitivity(begun)
    return Correction(columns if better else begun, sweeps)


def relative_error(tensor: Tensor, columns: Sequence[Tensor]) -> float:
    """||X - X~|| / ||X|| of the sum of the terms; 0 where both are zeros."""
    first, *others = columns
    apart = float(torch.dist(tensor.flatten(1), first @ _khatri_rao(others).T))
    return apart / float(tensor.norm()) if apart else 0.0


def _best(
    problem: _Problem, start: Columns, relax: bool, starts: int, seed: int, max_sweeps: int, tolerance: float
) -> tuple[Columns, int]:
    """The least sensitive terms that any start leads to, and the sweeps of all."""
    generator = torch.Generator().manual_seed(seed)
    found, total = [start], 0
    for index in range(starts):
        begin = _random_like(start, generator) if index else start
        inside, used = _relaxed(problem, begin, max_sweeps) if relax else (None, 0)
        if inside is None and begin is start:
            inside = start
        if inside is not None:
            corrected, more = _cycled(problem, inside, max_sweeps - used, tolerance)
            found.append(corrected)
            used += more
        total += used
    return min(found, key=sensitivity), total


def _relaxed(problem: _Problem, start: Columns, max_sweeps: int) -> tuple[Columns | None, int]:
    """The least sensitive terms met within the bound by ever lighter penalties, and the sweeps; None where none are.

    A penalty of 1 weighs a term of the tensor's own norm as much as the tensor itself. Different first ones lead to
    different terms; a light one stays near the start, where heavy ones may never come within the bound.
    """
    modes, total = problem.tensor.dim(), 0
    unit = modes * problem.tensor.numel() ** (1 / modes)
    met: list[Columns] = []
    for penalty in _PENALTIES:
        if penalty is _PENALTIES[-1] and met:
            break
        found, sweeps = _cooled(problem, start, penalty / unit, (max_sweeps - total) // 3)
        total += sweeps
        met += [found] if found is not None else []
    return min(met, key=sensitivity, default=None), total


def _cooled(problem: _Problem, start: Columns, penalty: float, max_sweeps: int) -> tuple[Columns | None, int]:
    """The first terms within the bound, and the sweeps."""
    walk = _Walk(_Point(start, math.inf), start, _FIRST_STEP, 0)
    while walk.sweeps < max_sweeps:
        sweep, worth = partial(_swept, problem, partial(_ridge, penalty)), partial(_penalised, penalty)
        walk = _advanced(walk, sweep, worth, max_sweeps)
        if walk.now.squared <= problem.allowed:
            return walk.now.terms, walk.sweeps
        penalty *= _COLD ** (1 / max_sweeps)
    return None, walk.sweeps


def _cycled(problem: _Problem, start: Columns, max_sweeps: int, tolerance: float) -> tuple[Columns, int]:
    """Sweeps on the bound from terms within it: no sweep raises the sensitivity."""
    sweep, worth = partial(_swept, problem, partial(_bounded, problem.allowed)), partial(_admitted, problem.allowed)
    walk, sensitivities = _Walk(_Point(start, 0.0), start, _FIRST_STEP, 0), [sensitivity(start)]
    while walk.sweeps < max_sweeps:
        walk = _advanced(walk, sweep, worth, max_sweeps)
        sensitivities.append(sensitivity(walk.now.terms))
        if len(sensitivities) > _WINDOW and sensitivities[-1 - _WINDOW] <= (1 + tolerance) * sensitivities[-1]:
            break
    return walk.now.terms, walk.sweeps


def _advanced(
    walk: _Walk, sweep: Callable[[Columns], _Point], worth: Callable[[_Point], float], max_sweeps: int
) -> _Walk:
    """One sweep after a jump ahead along the last step; where that is worse than before, one from there."""
    jumps = 1 < walk.sweeps < max_sweeps - 1
    if jumps:
        ahead = (new + walk.reach * (new - old) for new, old in zip(walk.now.terms, walk.before, strict=True))
        trial = sweep(tuple(ahead))
        if worth(trial) <= worth(walk.now):
            return _Walk(trial, walk.now.terms, min(walk.reach * 1.2, _LARGEST_STEP), walk.sweeps + 1)
    reach = max(walk.reach / 2, _LEAST_STEP) if jumps else walk.reach
    return _Walk(sweep(walk.now.terms), walk.now.terms, reach, walk.sweeps + 1 + jumps)


def _penalised(penalty: float, point: _Point) -> float:
    return point.squared + penalty * sensitivity(point.terms)


def _admitted(allowed: float, point: _Point) -> float:
    return sensitivity(point.terms) if point.squared <= allowed + _ROUNDING else math.inf


def _swept(problem: _Problem, solve: _Solve, terms: Columns) -> _Point:
    """Every mode solved for in turn, the others fixed; two products with the whole tensor."""
    columns = list(terms)
    rest = problem.tensor
    for mode, old in enumerate(terms):
        others = columns[:mode] + columns[mode + 1 :]
        gram = torch.stack([matrix.T @ matrix for matrix in others]).prod(dim=0)
        products = problem.unfolded @ _khatri_rao(others) if mode == 0 else _contracted(rest, columns[mode + 1 :])
        columns[mode] = solve(products, gram, _weights(columns, mode), old)
        if mode == 0:
            rest = columns[0].T @ problem.unfolded
        elif mode + 1 < len(columns):
            rest = torch.bmm(columns[mode].T[:, None], rest.unflatten(1, (len(old), -1)))[:, 0]
    squared = 1 - 2 * (columns[-1] * products).sum() + ((columns[-1].T @ columns[-1]) * gram).sum()
    return _Point(least_sensitive(columns), float(squared))


def _contracted(rest: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """(n, R) from (R, n·n_1·n_2 ...): summed over all sides but the first against the columns (n_j, R)."""
    for matrix in reversed(matrices):
        rest = torch.bmm(rest.unflatten(1, (-1, len(matrix))), matrix.T[:, :, None])[..., 0]
    return rest.T


def _weights(columns: Sequence[Tensor], mode: int) -> Tensor:
    """(R,): what a squared entry of the columns of `mode` adds to the sensitivity: J ||c_r||² + K ||b_r||²."""
    others = [(matrix.shape[0], matrix.square().sum(dim=0)) for at, matrix in enumerate(columns) if at != mode]
    total = torch.zeros_like(others[0][1])
    for left_out, (side, _) in enumerate(others):
        rest = [energy for at, (_, energy) in enumerate(others) if at != left_out]
        total = total + side * torch.stack(rest).prod(dim=0) if rest else total + side
    # Where two other columns are zero the weight is too: any then keeps the term at zero.
    return torch.where(total > 0, total, 1.0)


def _ridge(penalty: float, products: Tensor, gram: Tensor, weights: Tensor, old: Tensor) -> Tensor:
    """The columns of least squared error plus `penalty` times weighted squares."""
    scale = (gram.diagonal() + penalty * weights).rsqrt()
    system = gram * scale * scale[:, None] + torch.diag(penalty * weights * scale.square() + _ROUNDING)
    return torch.cholesky_solve((products * scale).T, torch.linalg.cholesky(system)).T * scale


def _bounded(allowed: float, products: Tensor, gram: Tensor, weights: Tensor, old: Tensor) -> Tensor:
    """The columns of least weighted squares whose squared error is at most `allowed`; `old` where none are.

    They are those of a ridge whose multiplier makes the error meet the bound. In the eigenvectors of the scaled Gram
    matrix that is one equation in one unknown.
    """
    scale = weights.rsqrt()
    values, vectors = torch.linalg.eigh(gram * scale * scale[:, None])
    values, rotated = values.clamp(min=0), (products * scale) @ vectors
    multiplier = _multiplier(values.cpu(), rotated.square().sum(dim=0).cpu(), allowed)
    return old if multiplier is None else (rotated / (values + multiplier)) @ vectors.T * scale


def _multiplier(values: Tensor, energies: Tensor, allowed: float) -> float | None:
    """The largest μ with 1 - Σ_k m_k (d_k + 2μ) / (d_k + μ)² <= `allowed`, for d = `values` and m = `energies`.

    None where no μ is small enough. What the error exceeds the least one by is nearly a power of μ, so Newton's method
    works on the logarithms of both, with bisection where it leaves the bracket.
    """

    def error(mu: float) -> float:
        return float(1 - (energies * (values + 2 * mu) / (values + mu).square()).sum())

    least = _ROUNDING * float(values.max())
    most = 2 * float(energies.sum()) / (1 - allowed)
    if least == 0 or most <= least or (floor := error(least)) > allowed:
        return None
    low, high, aim = math.log(least), math.log(most), allowed * (1 - 5e-11)
    guess = (low + high) / 2
    for _ in range(100):
        mu = math.exp(guess)
        above = error(mu) - floor
        if aim <= above + floor <= allowed:
            return mu
        low, high = (low, guess) if above + floor > allowed else (guess, high)
        slope = mu * float((energies * 2 * mu / (values + mu) ** 3).sum())
        if min(above, slope, aim - floor) > 0:
            guess -= math.log(above / (aim - floor)) * above / slope
        if not low < guess < high:
            guess = (low + high) / 2
    return math.exp(low)


def _random_like(start: Columns, generator: torch.Generator) -> Columns:
    drawn = [torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype) for matrix in start]
    return least_sensitive([new.to(old.device) for new, old in zip(drawn, start, strict=True)])


def _khatri_rao(columns: Sequence[Tensor]) -> Tensor:
    product, *further = columns
    for matrix in further:
        product = (product[:, None] * matrix).flatten(0, 1)
    return product
