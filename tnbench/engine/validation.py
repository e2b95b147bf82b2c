"""A part of the training pictures that choices are made on: ranks, learning rates, epochs. Test pictures never are."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.engine.splitmix import key, permutation
from tnbench.engine.streams import VALIDATION

SHARE = 0.1
"""Share of the training pictures that is split off where nothing else is asked."""


def split_off_validation(labels: Tensor | int, seed: int, share: float = SHARE) -> tuple[Tensor, Tensor]:
    """Indices (int64, on the CPU) of the training pictures that stay, in order, and of those split off, in order.

    `labels` (N,) makes the split stratified: of each class come `share` of its pictures, to within one. A plain count
    N draws from all alike. The split depends on the labels, `seed` and `share` alone; at least one picture is on
    either side.

    Raises UsageError for a share outside ]0, 1[, NotApplicable where there are fewer than two pictures.
    """
    n = labels if isinstance(labels, int) else len(labels)
    if not 0 < share < 1:
        raise UsageError(f"validation: got a share of {share:g}, wanted one between 0 and 1 such as {SHARE:g}")
    if n < 2:
        raise NotApplicable(f"a validation split takes two training pictures at least, got {n}; raise limit_train")
    order = permutation(key(seed, 0, VALIDATION), n)
    if not isinstance(labels, int):
        order = order[labels.cpu()[order].argsort(stable=True)]
    count = min(max(1, int(n * share)), n - 1)
    evenly = (2 * torch.arange(count) + 1) * n // (2 * count)
    split_off = torch.zeros(n, dtype=torch.bool)
    split_off[order[evenly]] = True
    return (~split_off).nonzero().flatten(), split_off.nonzero().flatten()


def split_digest(split_off: Tensor) -> str:
    """16 hex digits of SHA-256 that identify the pictures at the indices `split_off`, for a record."""
    return hashlib.sha256(split_off.to("cpu", torch.int64).numpy().tobytes()).hexdigest()[:16]
