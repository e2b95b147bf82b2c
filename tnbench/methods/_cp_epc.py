"""What methods with a stable CP share: options, and least squares followed by the error-preserving correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tnbench.core.errors import UsageError
from tnbench.linalg.cp import Columns, cp_dense
from tnbench.linalg.cp_epc import cp_epc, relative_error
from tnbench.methods import _cp


@dataclass(frozen=True)
class Options:
    """`iters`: most sweeps of least squares; `sweeps`: most sweeps of the correction, from each of `starts`.

    `slack` is the share by which the correction may raise the error. Starts after the first are random.
    """

    iters: int = 100
    sweeps: int = 800
    slack: float = 1e-3
    starts: int = 1

    def __post_init__(self) -> None:
        name = type(self).__module__.rpartition(".")[2]
        for field in ("iters", "sweeps", "starts"):
            if getattr(self, field) < 1:
                got = getattr(self, field)
                raise UsageError(f"method {name}: got {field} = {got}, wanted a whole number from 1 on")
        if not 0 <= self.slack < math.inf:
            raise UsageError(f"method {name}: got slack = {self.slack:g}, wanted a number from 0 on, such as 0.001")


def solve(tensor: Tensor, R: int, *, seed: int, options: Options, start: Columns | None) -> Columns:
    """Float64 columns (O, R), (I, R) and (k, R) for a tensor (O, I, k), in the scaling of least sensitivity.

    `start` holds columns of at most R terms to begin from. From `most_terms` on, they reproduce the tensor.
    """
    least_squares = _cp.Options(iters=options.iters)
    terms = _cp.solve(tensor, R, seed=seed, options=least_squares, stats=None, start=start)
    tensor = tensor.double()
    bound = relative_error(tensor, terms) * (1 + options.slack)
    return cp_epc(tensor, terms, bound=bound, starts=options.starts, seed=seed, max_sweeps=options.sweeps).columns


def depthwise(kernel: Tensor, sides: Sequence[int]) -> Tensor:
    """(R, 1, *sides) from columns (k, R)."""
    return kernel.T.reshape(-1, 1, *sides)


def dense(columns: Columns, sides: Sequence[int]) -> Tensor:
    """W[o,i,...] = Σ_r out[o,r] inp[i,r] kernel[...,r], with the kernel's sides apart again."""
    out, inp, _ = columns
    return cp_dense(columns).reshape(len(out), len(inp), *sides)
