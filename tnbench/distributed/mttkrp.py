"""A tensor times the Khatri-Rao product of all factors but one, for all modes in turn, on one rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def sweep(tensor: Tensor, factors: list[Tensor], update: Callable[[int, Tensor], Tensor]) -> None:
    """Call `update(mode, M)` for every mode of `tensor` (n_0, n_1, ...) and put its answer (n, R) in `factors`.

    M (n, R) is the product of the unfolding along the mode with the Khatri-Rao product of the other factors (n_j, R) as
    they are by then. The modes after the first share one product of the tensor with the first factor (a dimension tree
    with one branch; Phan, Tichavsky and Cichocki, "Fast alternating LS algorithms for high order CANDECOMP/PARAFAC
    tensor factorizations", 2013), so a sweep is two products with the whole tensor, whatever the number of modes, and
    both read it as a matrix where it lies. 4 J R flops and lower terms.
    """
    unfolded = tensor.flatten(1)
    factors[0] = update(0, unfolded @ khatri_rao(factors[1:]).T)
    rest = (factors[0].T.contiguous() @ unfolded).reshape(-1, *tensor.shape[1:])
    for mode in range(1, tensor.dim()):
        factors[mode] = update(mode, _without_last(rest, factors[mode + 1 :]).T)
        if mode + 1 < tensor.dim():
            rest = _without_first(rest, factors[mode])


def sweep_flops(shape: Sequence[int], rank: int) -> float:
    """Multiplications and additions of `sweep` on a tensor of this shape."""
    flops, rest = 4.0 * math.prod(shape) * rank, list(shape[1:])
    while len(rest) > 1:
        partial = math.prod(rest)
        flops += 2.0 * partial * rank  # for the next mode
        for last in reversed(range(2, len(rest))):
            flops += 2.0 * math.prod(rest[:last]) * rank
        rest = rest[1:]
        flops += 2.0 * partial * rank
    return flops


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """(R, n_0 n_1 ...): for each term the outer product of its columns, the last factor (n_j, R) running fastest."""
    product, *others = (factor.T for factor in factors)
    for other in others:
        product = (product[:, :, None] * other[:, None]).flatten(1)
    return product


def _without_last(rest: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """`rest` (R, n_1, n_2, ...) summed against the columns of its last modes: (R, n_1)."""
    for factor in reversed(factors):
        columns = factor.T[:, :, None]
        rest = torch.bmm(rest.reshape(len(rest), -1, len(factor)), columns).reshape(rest.shape[:-1])
    return rest


def _without_first(rest: Tensor, factor: Tensor) -> Tensor:
    """`rest` (R, n_1, n_2, ...) summed against the columns of its first mode: (R, n_2, ...)."""
    products = torch.bmm(factor.T[:, None], rest.reshape(len(rest), len(factor), -1))
    return products.reshape(len(rest), *rest.shape[2:])
