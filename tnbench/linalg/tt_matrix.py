"""TT-matrix: a large matrix as a train over pairs of row and column modes, in little more memory than a copy of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.linalg.blockwise import blocks
from tnbench.linalg.tt import check_ranks, leading_rows


def tt_matrix(matrix: Tensor, rows: Sequence[int], columns: Sequence[int], ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """Cores (r_{j-1}, m_j, n_j, r_j) of `matrix` (m, n) with m = m_1 ... m_d and n = n_1 ... n_d, given as `rows` and
    `columns`, and inner `ranks` r_1, ..., r_{d-1}.

    The TT-SVD of Oseledets (2011) of the tensor (m_1 n_1, ..., m_d n_d), as Novikov, Podoprikhin, Osokin and Vetrov,
    "Tensorizing neural networks" (2015), take it. Besides `matrix`, memory holds one copy of it in its dtype (float32
    for shorter ones), in which every bond's projection is done in place, the cores, and blocks in float64, in which
    all sums are taken. In float64 a rank that leaves out next to nothing costs an SVD's memory. Raises ValueError
    for a rank above what its neighbours leave a use for, see `tnbench.linalg.tt.useful_ranks`.

    >>> [tuple(core.shape) for core in tt_matrix(torch.ones(6, 4), (2, 3), (2, 2), (4,))]
    [(1, 2, 2, 4), (4, 3, 2, 1)]
    """
    sizes, bonds = [m * n for m, n in zip(rows, columns, strict=True)], (1, *ranks, 1)
    check_ranks(sizes, ranks)
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    low, high, rest = 0, len(sizes) - 1, _paired(matrix, rows, columns)
    while low < high:
        across, along = bonds[low] * sizes[low], sizes[high] * bonds[high + 1]
        if across <= rest.numel() // across:
            frame, rest = _split_rows(rest.view(across, -1), bonds[low + 1])
            lefts.append(frame)
            low += 1
        else:
            frame, rest = _split_columns(rest.view(-1, along), bonds[high])
            rights.append(frame.T)
            high -= 1
    # A clone, so that a small core does not keep the whole copy alive.
    middle = rest.clone() if 2 * rest.numel() < matrix.numel() else rest
    cores = [*lefts, middle, *reversed(rights)]
    return tuple(
        core.to(matrix.dtype).reshape(bonds[j], rows[j], columns[j], bonds[j + 1]) for j, core in enumerate(cores)
    )


def _paired(matrix: Tensor, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    """A flat copy in the order (m_1, n_1, m_2, n_2, ...)."""
    d = len(rows)
    order = [mode for pair in zip(range(d), range(d, 2 * d), strict=True) for mode in pair]
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    paired = matrix.reshape(*rows, *columns).permute(order)
    return torch.empty(paired.shape, dtype=dtype, device=matrix.device).copy_(paired).view(-1)


def _split_rows(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Orthonormal columns (m, r) in float64, and their products (r, n) in the first rows of `matrix` (m, n)."""
    frame = leading_rows(matrix, rank)
    if rank < len(matrix):
        for part in blocks(matrix.shape[1], len(matrix)):
            matrix[:rank, part] = (frame.T @ matrix[:, part].double()).to(matrix.dtype)
    return frame, matrix.view(-1)[: rank * matrix.shape[1]]


def _split_columns(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Orthonormal columns (n, r) in float64, and the products (m, r) closed up at the start of `matrix` (m, n)."""
    frame, flat = leading_rows(matrix.T, rank), matrix.view(-1)
    if rank < matrix.shape[1]:
        for part in blocks(len(matrix), matrix.shape[1]):
            flat[part.start * rank : part.stop * rank] = (matrix[part].double() @ frame).to(matrix.dtype).view(-1)
    return frame, flat[: len(matrix) * rank]


def contract(cores: Sequence[Tensor]) -> Tensor:
    """The matrix (m_1 ... m_d, n_1 ... n_d) of cores (r_{j-1}, m_j, n_j, r_j) whose outer ranks are 1."""
    whole = cores[0][0]
    for core in cores[1:]:
        whole = torch.tensordot(whole, core, dims=1)
    d = len(cores)
    whole = whole[..., 0].permute(*range(0, 2 * d, 2), *range(1, 2 * d, 2))
    return whole.reshape(math.prod(whole.shape[:d]), -1)
