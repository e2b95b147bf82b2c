"""Square roots of a second moment, which turn an error of outputs into an error of weights."""

from __future__ import annotations

import torch
from torch import Tensor


def root_and_inverse(moment: Tensor) -> tuple[Tensor, Tensor]:
    """C^1/2 and C^-1/2, symmetric, of a positive definite `moment` C (n, n) in float64.

    With C = E[x x'] the mean squared error of outputs, E|(W - W~) x|², is ||(W - W~) C^1/2||². Raises ValueError where
    C is not positive definite: a ridge belongs to it first.
    """
    energies, vectors = torch.linalg.eigh(moment)
    if not bool(energies[0] > 0):
        raise ValueError(
            f"second moment: got an eigenvalue of {float(energies[0]):.2g}, wanted all above 0; add a ridge"
        )
    roots = energies.sqrt()
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
