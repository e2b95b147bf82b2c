"""Parallel decompositions as solvers of methods: from a tensor that every rank has to factors that every rank has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from tnbench.distributed import cp_als, st_hosvd, tt_svd
from tnbench.distributed.collectives import ALONE, Group, size
from tnbench.distributed.grid import Grid, distribute, gather
from tnbench.distributed.ttm import truncated

Columns = tuple[Tensor, ...]

_together: list[Group] = []


@contextmanager
def together(group: Group = None) -> Iterator[None]:
    """Within the block all ranks of `group` (None: all there are) call each solver, and share its work.

    Elsewhere a solver works on this rank alone: it cannot know whether the other ranks call it too, and one that waits
    for ranks which factorise other layers waits for good.
    """
    _together.append(group)
    try:
        yield
    finally:
        _together.pop()


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """As `tnbench.linalg.low_rank.low_rank`: (m, r) and (r, n), by TSQR with the long side spread over the ranks."""
    if matrix.shape[0] > matrix.shape[1]:
        right, left = low_rank(matrix.T, rank)
        return left.T, right.T
    group = _group()
    given = distribute(matrix, Grid((1, size(group)), group))
    left = st_hosvd.leading(given, 0, rank, "lq", 0)
    return left, gather(truncated(given, left, 0))


def tucker(tensor: Tensor, ranks: Sequence[int], modes: Sequence[int]) -> tuple[Tensor, Columns]:
    """Core and orthonormal factors: `st_hosvd.st_hosvd` by TSQR, whose digits small weights can pay for."""
    group = _group()
    sides = st_hosvd.best_grid(tensor.shape, ranks, modes, size(group), via="lq")
    core, factors = st_hosvd.st_hosvd(distribute(tensor, Grid(sides, group)), ranks, modes, via="lq")
    return gather(core), factors


def cp(tensor: Tensor, rank: int, *, seed: int, start: Columns | None = None, max_sweeps: int = 100) -> Columns:
    """Float64 columns of R terms: plain least squares, until a sweep lowers the error by less than 1e-5 of itself."""
    group = _group()
    sides = cp_als.best_grid(tensor.shape, rank, size(group))
    given = distribute(tensor, Grid(sides, group))
    found = cp_als.cp_als(given, rank, sweeps=max_sweeps, seed=seed, start=start, tolerance=1e-5)
    return tuple(matrix.double() for matrix in found.columns)


def tensor_train(tensor: Tensor, ranks: Sequence[int]) -> tuple[Tensor, ...]:
    """Cores in the type of `tensor`: `tt_svd.tt_svd` with the last mode spread over the ranks, in float64.

    Gram matrices square singular values: those of a float32 matrix that are small beside its largest one would be lost
    in float32.
    """
    return tuple(core.to(tensor.dtype) for core in tt_svd.tt_svd_of(tensor.double(), ranks, _group()))


def _group() -> Group:
    return _together[-1] if _together else ALONE
