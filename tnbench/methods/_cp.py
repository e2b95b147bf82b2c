"""What the methods of the CP family share: options, the solution for columns, and factors from columns and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Ranks, Shape, Stats
from tnbench.distributed import solvers
from tnbench.linalg import cp_diagnostics, with_tensorly
from tnbench.linalg.candelinc import candelinc
from tnbench.linalg.cp import Columns, balanced, cp_dense, cp_exact
from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.whitening import root_and_inverse
from tnbench.methods import _matrix

_TRUNCATE = {"als": low_rank, "tensorly": with_tensorly.low_rank, "distributed": solvers.low_rank}


@dataclass(frozen=True)
class Options:
    """`solver`: our alternating least squares, or TensorLy's `parafac`; `iters` is the most sweeps of any.

    `distributed` is plain least squares over the ranks of `tnbench.distributed.solvers.together`. `aware` weighs errors
    by the second moment of the layer's input channels.
    """

    solver: Literal["als", "tensorly", "distributed"] = "als"
    iters: int = 100
    aware: bool = False

    def __post_init__(self) -> None:
        if self.iters < 1:
            name = type(self).__module__.rpartition(".")[2]
            raise UsageError(f"method {name}: got iters = {self.iters}, wanted a whole number from 1 on")


def largest_ranks(sides: Shape) -> Ranks:
    """(R,): the product of all sides divided by the largest is always enough."""
    return (math.prod(sides) // max(sides),)


def solve(
    tensor: Tensor, R: int, *, seed: int, options: Options, stats: Stats | None, start: Columns | None
) -> Columns:
    """Float64 columns of R terms for a tensor (O, I, ...), balanced; exact from `largest_ranks` on.

    With `aware`, they minimise the error of the tensor times C^1/2, C the second moment of the input channels.
    """
    moment = _matrix.channel_moment(options.aware, stats)
    if largest_ranks(tuple(tensor.shape)) <= (R,):
        return cp_exact(tensor.double(), R)
    if moment is None:
        return _unweighted(_matrix.working(tensor), R, seed, options, start)
    root, inverse = root_and_inverse(moment)
    weighted = torch.tensordot(tensor.double(), root, dims=([1], [0])).movedim(-1, 1)
    begin = start and (start[0], root @ start[1].double(), *start[2:])
    out, inp, *others = _unweighted(weighted, R, seed, options, begin)
    return balanced((out, inverse @ inp, *others))


def _unweighted(tensor: Tensor, R: int, seed: int, options: Options, start: Columns | None) -> Columns:
    """Sides of 1 are left out for the time being: what remains may be a matrix, whose best terms are its SVD."""
    modes = [mode for mode, side in enumerate(tensor.shape) if side > 1]
    squeezed = tensor.reshape([tensor.shape[mode] for mode in modes])
    if len(modes) == 2:
        left, right = _TRUNCATE[options.solver](squeezed, R)
        found: Columns = (left.double(), right.T.double())
    elif options.solver == "tensorly":
        found = with_tensorly.cp(squeezed.double(), R, seed=seed, max_sweeps=options.iters)
    elif options.solver == "distributed":
        begin = start and _squeezed(start, modes)
        found = solvers.cp(squeezed, R, seed=seed, start=begin, max_sweeps=options.iters)
    else:
        begin = start and _squeezed(start, modes)
        found = candelinc(squeezed, R, seed=seed, start=begin, max_sweeps=options.iters)
    solved = dict(zip(modes, found, strict=True))
    ones = found[0].new_ones(1, R)
    return balanced([solved.get(mode, ones) for mode in range(tensor.dim())])


def _squeezed(columns: Columns, modes: Sequence[int]) -> Columns:
    """The columns of `modes`, the first of them times those of all others, which have one row each."""
    rows = [matrix for mode, matrix in enumerate(columns) if mode not in modes]
    scale = torch.cat(rows).prod(dim=0) if rows else 1.0
    first, *others = (columns[mode].double() for mode in modes)
    return (first * scale, *others)


def pointwise(matrix: Tensor, dimensions: int) -> Tensor:
    """A matrix (out, in) as the kernel of a convolution with sides of 1."""
    return matrix.reshape(*matrix.shape, *(1 for _ in range(dimensions)))


def diagnose(columns: Columns) -> dict[str, float]:
    """Largest congruence, sum of the terms' norms ÷ the norm of their sum, and least sensitivity of any scaling."""
    columns = tuple(matrix.double() for matrix in columns)
    return {
        "congruence": cp_diagnostics.congruence(columns),
        "cancellation": cp_diagnostics.cancellation(columns, cp_dense(columns).norm()),
        "sensitivity": cp_diagnostics.sensitivity(columns),
    }
