"""Tucker-2 in shape only: factors that nobody solved for, where times and words are all that is asked of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tnbench.methods import tucker2

KIND = "method"
VERSION = 1

refuses = tucker2.refuses
layer = tucker2.layer
largest_ranks = tucker2.largest_ranks
useful_ranks = tucker2.useful_ranks
count = tucker2.count
macs = tucker2.macs
dense = tucker2.dense


def factorise(weight: Tensor, ranks: tuple[int, ...], **given: Any) -> tuple[Tensor, ...]:
    """Zeros in the shapes of the factors of `weight` (O, I, kH, kW), or (O, I)."""
    O, I, *sides = weight.shape
    if not sides:
        (R,) = ranks
        return torch.zeros(R, I), torch.zeros(O, R)
    R1, R2 = ranks
    ones = [1] * len(sides)
    return torch.zeros(R1, I, *ones), torch.zeros(R2, R1, *sides), torch.zeros(O, R2, *ones)
