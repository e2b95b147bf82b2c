"""Symmetric and triangular matrices as the n(n+1)/2 numbers of their upper triangle."""

from __future__ import annotations

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_reduce
from tnbench.distributed.volume import Volume, call


def packed(matrix: Tensor) -> Tensor:
    """The upper triangle of `matrix` (n, n), row by row: (n(n+1)/2,).

    >>> packed(torch.tensor([[1, 2], [2, 3]]))
    tensor([1, 2, 3])
    """
    n = len(matrix)
    return matrix[_places(n, matrix.device)]


def upper(numbers: Tensor, n: int) -> Tensor:
    """The upper triangular matrix (n, n) of `packed` numbers."""
    matrix = numbers.new_zeros(n, n)
    matrix[_places(n, numbers.device)] = numbers
    return matrix


def symmetric(numbers: Tensor, n: int) -> Tensor:
    """The symmetric matrix (n, n) of `packed` numbers."""
    matrix = upper(numbers, n)
    return matrix + matrix.triu(1).T


def size(n: int) -> int:
    """n(n+1)/2."""
    return n * (n + 1) // 2


def reduced(gram: Tensor, group: Group) -> Tensor:
    """The sum over the ranks of symmetric matrices (n, n), of which only half travels: n(n+1)/2 words."""
    return symmetric(all_reduce(packed(gram), group), len(gram))


def reduced_cost(n: int, ranks: int) -> Volume:
    """Of `reduced`."""
    return call(size(n), ranks, size(n))


def _places(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, columns = torch.triu_indices(n, n, device=device)
    return rows, columns
