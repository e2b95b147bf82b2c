"""CP of a four-way kernel: accelerated alternating least squares, and the exact decomposition from an unfolding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.linalg.low_rank import leading_left

Columns = tuple[Tensor, ...]
"""One matrix (n_j, R) per mode; the tensor is the sum over r of the outer products of their columns."""

_WINDOW = 10
_RIDGE = 1e-10
_FIRST_STEP, _LEAST_STEP, _LARGEST_STEP = 0.3, 0.1, 10.0


def cp_als(
    tensor: Tensor,
    rank: int,
    *,
    seed: int,
    start: Columns | None = None,
    max_sweeps: int = 100,
    tolerance: float = 1e-3,
) -> Columns:
    """CP of `tensor` (O, I, H, W) in float64 with R = `rank` terms, columns of equal norm in all four modes.

    Each sweep solves for O, I, H and W in turn, by two large matrix products and no Khatri-Rao product over O. From
    the third sweep on it first jumps ahead along the last step, and back where that raises the error (Ang, Cohen,
    Hien and Gillis, "Extrapolated ALS for CP", 2020), so the error never rises. It stops when ten sweeps together
    lower the error by less than `tolerance` of itself. `start` holds columns of at most R terms to begin from: the
    error is then at most theirs. The same seed gives the same bits on the CPU.
    """
    unfolded, energy = tensor.flatten(1), tensor.square().sum()
    terms = _starting_terms(tensor, rank, seed) if start is None else _continued(start, rank, seed)
    before, errors, step = terms, [math.inf], _FIRST_STEP
    for sweep in range(max_sweeps):
        ahead = _extrapolated(terms, before, step) if sweep > 1 else terms
        trial, error = _update_first(unfolded, energy, ahead)
        if error > errors[-1]:
            trial, _ = _update_first(unfolded, energy, terms)
            step = max(step / 2, _LEAST_STEP)
        else:
            step = min(step * 1.3, _LARGEST_STEP)
        before = terms
        terms, error = _update_others(tensor, energy, trial)
        errors.append(error)
        if len(errors) > _WINDOW and errors[-_WINDOW] - error <= tolerance * error:
            break
    return balanced(terms)


def cp_exact(tensor: Tensor, rank: int) -> Columns:
    """CP that reproduces `tensor`: one term per fibre along its largest side, and zeros for the terms beyond.

    `rank` is at least the product of all sides divided by the largest.
    """
    largest = max(range(tensor.dim()), key=lambda mode: tensor.shape[mode])
    fibres = tensor.movedim(largest, -1).flatten(0, -2).T
    others = [side for mode, side in enumerate(tensor.shape) if mode != largest]
    where = torch.unravel_index(torch.arange(fibres.shape[1], device=tensor.device), others)
    columns = [
        torch.eye(side, dtype=tensor.dtype, device=tensor.device)[:, at] for side, at in zip(others, where, strict=True)
    ]
    columns.insert(largest, fibres)
    return tuple(torch.nn.functional.pad(matrix, (0, rank - fibres.shape[1])) for matrix in balanced(columns))


def balanced(columns: Sequence[Tensor]) -> Columns:
    """The same terms with each term's norm spread evenly over its modes."""
    norms = [matrix.norm(dim=0) for matrix in columns]
    size = torch.stack(norms).prod(dim=0) ** (1 / len(norms))
    return tuple(matrix * (size / _above_zero(norm)) for matrix, norm in zip(columns, norms, strict=True))


def _starting_terms(tensor: Tensor, rank: int, seed: int) -> Columns:
    """Leading singular vectors of the unfoldings, then random columns; the first mode is solved for before all."""
    unfoldings = [tensor.movedim(mode, 0).flatten(1) for mode in (1, 2, 3)]
    known = [leading_left(unfolding, min(rank, *unfolding.shape)) for unfolding in unfoldings]
    generator = torch.Generator().manual_seed(seed)
    others = [torch.cat([basis, _random(basis, rank - basis.shape[1], generator)], dim=1) for basis in known]
    return tensor.new_zeros(tensor.shape[0], rank), *others


def _continued(start: Columns, rank: int, seed: int) -> Columns:
    """`start` and random further terms of size zero."""
    generator = torch.Generator().manual_seed(seed)
    further = [_random(matrix, rank - matrix.shape[1], generator) for matrix in start]
    further[0] = torch.zeros_like(further[0])
    terms = [torch.cat(pair, dim=1) for pair in zip(start, further, strict=True)]
    sizes = torch.stack([matrix.norm(dim=0) for matrix in terms[1:]]).prod(dim=0)
    return (terms[0] * sizes, *map(_unit, terms[1:]))


def _random(like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(like.shape[0], count, generator=generator, dtype=like.dtype)
    return _unit(drawn).to(like.device)


def _extrapolated(terms: Columns, before: Columns, step: float) -> Columns:
    ahead = (_unit(new + step * (new - old)) for new, old in zip(terms[1:], before[1:], strict=True))
    return (terms[0], *ahead)


def _update_first(unfolded: Tensor, energy: Tensor, terms: Columns) -> tuple[Columns, float]:
    """The least-squares solution for the first mode, and the relative error after it."""
    first, *others = terms
    products = unfolded @ _khatri_rao(others)
    gram = torch.stack([matrix.T @ matrix for matrix in others]).prod(dim=0)
    first = _solve(gram, products, first)
    return (first, *others), _error(energy, first, products, gram)


def _update_others(tensor: Tensor, energy: Tensor, terms: Columns) -> tuple[Columns, float]:
    """Solve for I, H and W, which share one product of the tensor with the first mode's columns."""
    first, second, third, fourth = terms
    size, first = first.norm(dim=0), _unit(first)
    rest = (tensor.flatten(1).T @ first).reshape(*tensor.shape[1:], -1)
    gram1, gram3, gram4 = (matrix.T @ matrix for matrix in (first, third, fourth))

    spatial = third[:, None] * fourth
    second = _unit(_solve(gram1 * gram3 * gram4, (rest * spatial).sum((1, 2)), second * size))
    rest = (rest * second[:, None, None]).sum(0)
    gram12 = gram1 * (second.T @ second)

    third = _unit(_solve(gram12 * gram4, (rest * fourth).sum(1), third * size))
    products = (rest * third[:, None]).sum(0)
    gram = gram12 * (third.T @ third)
    fourth = _solve(gram, products, fourth * size)
    error = _error(energy, fourth, products, gram)
    return (first * fourth.norm(dim=0), second, third, _unit(fourth)), error


def _solve(gram: Tensor, products: Tensor, old: Tensor) -> Tensor:
    """Least squares from normal equations whose diagonal is at most 1.

    A small pull towards the old columns keeps a singular system solvable and the error from rising.
    """
    ridge = torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device) * _RIDGE
    return torch.cholesky_solve((products + _RIDGE * old).T, torch.linalg.cholesky(gram + ridge)).T


def _error(energy: Tensor, columns: Tensor, products: Tensor, gram: Tensor) -> float:
    """The relative error, from <X, X~> and ||X~||² without forming X~."""
    squared = energy - 2 * (columns * products).sum() + ((columns.T @ columns) * gram).sum()
    return float((squared.clamp(min=0) / _above_zero(energy)).sqrt())


def _khatri_rao(columns: Sequence[Tensor]) -> Tensor:
    product, *further = columns
    for matrix in further:
        product = (product[:, None] * matrix).flatten(0, 1)
    return product


def _unit(matrix: Tensor) -> Tensor:
    return matrix / _above_zero(matrix.norm(dim=0))


def _above_zero(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, norms, 1.0)
