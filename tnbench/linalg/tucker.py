"""Tucker-2: higher-order SVD of the first mode, then orthogonal iteration over both channel modes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tnbench.linalg.low_rank import leading_left


def tucker2(
    tensor: Tensor, ranks: tuple[int, int], *, max_sweeps: int = 50, tolerance: float = 2e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Core (r_0, r_1, ...) and orthonormal factors (n_0, r_0), (n_1, r_1) of `tensor` (n_0, n_1, ...) in float64.

    HOOI of De Lathauwer, De Moor and Vandewalle, "On the best rank-1 and rank-(R1, ..., RN) approximation" (2000),
    from their HOSVD. It stops when a sweep lowers the error by less than `tolerance` of itself.
    """
    first, error = leading_left(tensor.flatten(1), ranks[0]), math.inf
    energy = tensor.square().sum()
    for _ in range(max_sweeps):
        second = leading_left(_project(tensor, first, 0).transpose(0, 1).flatten(1), ranks[1])
        projected = _project(tensor, second, 1)
        first = leading_left(projected.flatten(1), ranks[0])
        core = _project(projected, first, 0)
        # An orthogonal projection leaves out exactly the energy that the core lacks.
        previous, error = error, float((energy - core.square().sum()).clamp(min=0).sqrt())
        if previous - error <= tolerance * error:
            break
    return core, first, second


def _project(tensor: Tensor, basis: Tensor, mode: int) -> Tensor:
    projected: Tensor = torch.tensordot(basis, tensor, dims=([0], [mode]))
    return projected.movedim(0, mode)
