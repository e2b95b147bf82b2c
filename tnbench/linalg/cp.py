"""CP of a tensor of any number of modes: accelerated alternating least squares, and the exact decomposition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.low_rank import leading_left
from tnbench.linalg.multilinear import unfold

Columns = tuple[Tensor, ...]
"""One matrix (n_j, R) per mode; the tensor is the sum over r of the outer products of their columns."""

_WINDOW = 10
_BLOCK = 32
_PULL = 1e-10
_JITTER = 0.03
_FIRST_STEP, _LEAST_STEP, _LARGEST_STEP = 0.3, 0.1, 10.0
_LEAST_ERROR = 1e-3
"""The penalty falls with the relative error, but not below that of this error."""

_COARSE = 1e-5
"""Penalty that covers what rounding to float32 does to normal equations, some 1e-6."""

_FINE = 0.03
"""Relative error below which rounding in float32 products, some 1e-6 of the energy, would show in the error."""


def cp_als(
    tensor: Tensor,
    rank: int,
    *,
    seed: int,
    start: Columns | None = None,
    max_sweeps: int = 100,
    tolerance: float = 1e-3,
    enough: float = 0.0,
    penalty: float = 1e-3,
) -> Columns:
    """CP of `tensor` (n_0, n_1, ...) in R = `rank` terms: float64 columns of equal norm in all modes.

    `start` holds columns of at most R terms to begin from: the error is then at most theirs. Otherwise it begins from
    the singular vectors of the unfoldings and, beyond them, random columns. The same seed gives the same bits on the
    CPU. See `refine` for the algorithm, when it stops and what it keeps in memory.
    """
    terms = _starting_terms(tensor, rank, seed) if start is None else _continued(start, rank, seed)
    return balanced(refine(tensor, terms, max_sweeps=max_sweeps, tolerance=tolerance, enough=enough, penalty=penalty))


def refine(
    tensor: Tensor,
    terms: Columns,
    *,
    max_sweeps: int,
    tolerance: float,
    window: int = _WINDOW,
    enough: float = 0.0,
    penalty: float = 1e-3,
) -> Columns:
    """Sweeps of least squares over all modes, from float64 `terms` whose columns are of norm 1 but in the first mode.

    From the third sweep on it first jumps ahead along the last step, and back where that raises the error (Ang, Cohen,
    Hien and Gillis, "Extrapolated ALS for CP", 2020). A penalty on the terms' squared norms, `penalty` times the
    squared error, keeps terms that cancel from growing without bound, as they do where no best approximation exists
    (de Silva and Lim, "Tensor rank and the ill-posedness of the best low-rank approximation problem", 2008); it also
    shortens the way through swamps (Li, Kindermann and Navasca, "Some convergence results on the regularized
    alternating least-squares method for tensor decomposition", 2013). 0 is plain least squares. It stops where the
    relative error is at most `enough`, where `window` sweeps together lower it by less than `tolerance` of itself, or
    where only larger terms would lower it; so the error never rises.

    A sweep is two large matrix products. For a float64 tensor all is in float64. For a float32 one, products are in
    float32 while the relative error is above 0.03, and the rest of a sweep too while the penalty is heavy enough (at
    the usual one, above an error of 0.1); else all is in float64, the tensor converted block by block. Beside the
    tensor there is at most one matrix of size (n_1 n_2 ..., R).
    """
    problem = _Problem(tensor)
    # Of a start the error is not known; the first sweep is then without a penalty, and fine, so as not to raise it.
    now, before, step = _Point(terms, math.inf if bool(terms[0].any()) else 1.0, 0.0), terms, _FIRST_STEP
    errors = [now.error]
    for sweep in range(max_sweeps):
        started = now.error < math.inf
        fine = problem.exact or not started or now.error < _FINE
        weight = penalty * max(now.error, _LEAST_ERROR) ** 2 if started else 0.0
        dtype = torch.float64 if fine or weight < _COARSE else torch.float32
        now, before = now._replace(terms=_cast(now.terms, dtype)), _cast(before, dtype)
        ahead = _extrapolated(now.terms, before, step) if sweep > 1 else now.terms
        trial = problem.update_first(ahead, weight, fine)
        if trial.objective(weight) > now.objective(weight):
            trial = problem.update_first(now.terms, weight, fine)
            step = max(step / 2, _LEAST_STEP)
        else:
            step = min(step * 1.3, _LARGEST_STEP)
        trial = problem.update_others(trial.terms, weight, fine)
        if trial.error > now.error:
            break
        before, now = now.terms, trial
        errors.append(now.error)
        if now.error <= enough or (len(errors) > window and errors[-1 - window] - now.error <= tolerance * now.error):
            break
    return _cast(now.terms, torch.float64)


def cp_exact(tensor: Tensor, rank: int) -> Columns:
    """CP that reproduces `tensor`: one term per fibre along its largest side, and zeros for the terms beyond.

    `rank` is at least the product of all sides divided by the largest.
    """
    largest = max(range(tensor.dim()), key=lambda mode: tensor.shape[mode])
    fibres = tensor.movedim(largest, -1).flatten(0, -2).T if tensor.dim() > 1 else tensor[:, None]
    others = [side for mode, side in enumerate(tensor.shape) if mode != largest]
    where = torch.unravel_index(torch.arange(fibres.shape[1], device=tensor.device), others) if others else ()
    columns = [
        torch.eye(side, dtype=tensor.dtype, device=tensor.device)[:, at] for side, at in zip(others, where, strict=True)
    ]
    columns.insert(largest, fibres)
    return tuple(torch.nn.functional.pad(matrix, (0, rank - fibres.shape[1])) for matrix in balanced(columns))


def cp_dense(columns: Sequence[Tensor]) -> Tensor:
    """The tensor (n_0, n_1, ...) that the terms add up to.

    >>> cp_dense([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])])
    tensor([[3., 4.],
            [6., 8.]])
    """
    first, *others = columns
    return (first @ _khatri_rao(others).T).reshape([len(matrix) for matrix in columns])


def balanced(columns: Sequence[Tensor]) -> Columns:
    """The same terms with each term's norm spread evenly over its modes."""
    norms = [matrix.norm(dim=0) for matrix in columns]
    size = torch.stack(norms).prod(dim=0) ** (1 / len(norms))
    return tuple(matrix * (size / _above_zero(norm)) for matrix, norm in zip(columns, norms, strict=True))


def gathered(columns: Sequence[Tensor]) -> Columns:
    """The same terms with columns of norm 1 (or 0) in all modes but the first, which has the terms' norms."""
    sizes = torch.stack([matrix.norm(dim=0) for matrix in columns[1:]]).prod(dim=0)
    return (columns[0] * sizes, *map(_unit, columns[1:]))


def _starting_terms(tensor: Tensor, rank: int, seed: int) -> Columns:
    """Leading singular vectors of the unfoldings, then random columns; the first mode is solved for before all.

    A little noise on the vectors leads away from saddle points, such as those of tensors that are symmetric.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = [tensor.new_zeros(tensor.shape[0], rank, dtype=torch.float64)]
    for mode, side in enumerate(tensor.shape[1:], start=1):
        known = leading_left(unfold(tensor, mode), min(rank, side, tensor.numel() // side)).double()
        further = _random(known, rank - known.shape[1], generator)
        noise = _random(known, rank, generator)
        columns.append(_unit(torch.cat([known, further], dim=1) + _JITTER * noise))
    return tuple(columns)


def _continued(start: Columns, rank: int, seed: int) -> Columns:
    """`start` and random further terms of size zero."""
    generator = torch.Generator().manual_seed(seed)
    further = [_random(matrix, rank - matrix.shape[1], generator) for matrix in start]
    known = gathered([matrix.double() for matrix in start])
    further[0] = torch.zeros_like(further[0])
    return tuple(torch.cat(pair, dim=1) for pair in zip(known, further, strict=True))


def _cast(terms: Columns, dtype: torch.dtype) -> Columns:
    return tuple(matrix.to(dtype) for matrix in terms)


def _random(like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape[0], count, generator=generator, dtype=torch.float64)
    return _unit(drawn).to(like.device)


def _extrapolated(terms: Columns, before: Columns, step: float) -> Columns:
    ahead = (_unit(new + step * (new - old)) for new, old in zip(terms[1:], before[1:], strict=True))
    return (terms[0], *ahead)


class _Point(NamedTuple):
    """Terms, their relative error, and the sum of their squared norms as a share of the tensor's."""

    terms: Columns
    error: float
    size: float

    def objective(self, penalty: float) -> float:
        return self.error**2 + penalty * self.size


class _Problem:
    """The tensor to be met, unfolded along its first mode; all products with it are here."""

    def __init__(self, tensor: Tensor) -> None:
        self.sides = tensor.shape[1:]
        self.unfolded = tensor.flatten(1)
        self.exact = tensor.dtype == torch.float64
        self.energy = sum((block.double().square().sum() for block in self.unfolded.split(_BLOCK)), torch.zeros(()))

    def update_first(self, terms: Columns, penalty: float, fine: bool) -> _Point:
        """The least-squares solution for the first mode."""
        first, *others = terms
        gram = math.prod((matrix.T @ matrix for matrix in others[1:]), start=others[0].T @ others[0])
        first, explained = _solve(gram, self._across(others, fine), first, penalty)
        return self._point((first, *others), explained, first)

    def update_others(self, terms: Columns, penalty: float, fine: bool) -> _Point:
        """Solve for the other modes in turn, which share one product of the tensor with the first mode's columns."""
        size, columns = _norms(terms[0]), [_unit(terms[0]), *terms[1:]]
        rest, grams = self._along(columns[0], fine), [matrix.T @ matrix for matrix in columns]
        solved, explained = columns[0], self.energy
        for mode in range(1, len(columns)):
            products = rest
            for matrix in reversed(columns[mode + 1 :]):
                products = _summed_last(products, matrix)
            others = grams[:mode] + grams[mode + 1 :]
            gram = math.prod(others[1:], start=others[0])
            solved, explained = _solve(gram, products.to(gram.dtype), columns[mode] * size, penalty)
            size, columns[mode] = _norms(solved), _unit(solved)
            grams[mode] = columns[mode].T @ columns[mode]
            if mode + 1 < len(columns):
                rest = _summed_first(rest, columns[mode])
        columns[0] = columns[0] * size
        return self._point(tuple(columns), explained, solved)

    def _across(self, others: Sequence[Tensor], fine: bool) -> Tensor:
        """(n_0, R): the tensor times the columns of all modes but the first."""
        if not fine:
            product = _khatri_rao(_cast(tuple(others), self.unfolded.dtype))
            return (self.unfolded @ product).to(others[0].dtype)
        product = _khatri_rao(others)
        return torch.cat([block.double() @ product for block in self.unfolded.split(_BLOCK)])

    def _along(self, first: Tensor, fine: bool) -> Tensor:
        """(n_1, ..., R): the tensor times the columns of its first mode."""
        if not fine:
            rest = self.unfolded.T @ first.to(self.unfolded.dtype)
        else:
            rest = first.new_zeros(self.unfolded.shape[1], first.shape[1])
            for block, rows in zip(self.unfolded.split(_BLOCK), first.split(_BLOCK), strict=True):
                rest.addmm_(block.double().T, rows)
        return rest.reshape(*self.sides, -1)

    def _point(self, terms: Columns, explained: Tensor, sized: Tensor) -> _Point:
        """`sized` are the columns that have the terms' norms; the approximation is never formed."""
        error = ((self.energy - explained).clamp(min=0) / _above_zero(self.energy)).sqrt()
        size = sized.square().sum() / _above_zero(self.energy)
        return _Point(terms, *torch.stack([error, size]).tolist())


def _solve(gram: Tensor, products: Tensor, old: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Least squares by normal equations with a unit diagonal, and by how much that lowers the squared error from X².

    The solution's squared norm is penalised. A small pull towards the `old` columns keeps a singular system solvable
    and the error from rising.
    """
    ridge = _PULL + penalty
    lower = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    pulled = products + _PULL * old
    half = torch.linalg.solve_triangular(lower.mT, pulled, upper=True, left=False)
    solved: Tensor = torch.linalg.solve_triangular(lower, half, upper=False, left=False)
    # ||X~||² = <A, A gram>, and A (gram + ridge) is what was solved for.
    return solved, (solved * (2 * products - pulled + ridge * solved)).sum()


def _summed_last(products: Tensor, matrix: Tensor) -> Tensor:
    """Σ_n products[..., n, r] matrix[n, r], without a temporary of the size of `products`."""
    weights = matrix.to(products.dtype)
    first, *others = products.unbind(-2)
    total = first * weights[0]
    for part, weight in zip(others, weights[1:], strict=True):
        total.addcmul_(part, weight)
    return total


def _summed_first(products: Tensor, matrix: Tensor) -> Tensor:
    """Σ_n products[n, ..., r] matrix[n, r], without a temporary of the size of `products`."""
    weights = matrix.to(products.dtype)
    parts = [(part * weights).sum(0) for part in products.flatten(1, -2).unbind(1)]
    return torch.stack(parts).reshape(products.shape[1:])


def _khatri_rao(columns: Sequence[Tensor]) -> Tensor:
    product, *further = columns
    for matrix in further:
        product = (product[:, None] * matrix).flatten(0, 1)
    return product


def _unit(matrix: Tensor) -> Tensor:
    return matrix / _above_zero(_norms(matrix))


def _norms(matrix: Tensor) -> Tensor:
    # Four times as fast as torch's own norm along the first dimension.
    return matrix.square().sum(0).sqrt()


def _above_zero(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, norms, 1.0)
