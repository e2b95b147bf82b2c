"""What tests of parallel decompositions share: tensors, distances, and counts beside formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tnbench.distributed.collectives import counting
from tnbench.distributed.volume import Volume


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def decaying(*shape: int, seed: int = 0) -> Tensor:
    """A tensor of full rank whose unfoldings have well separated singular values."""
    tensor = noise(*shape, seed=seed)
    for mode, side in enumerate(shape):
        mixed = torch.linalg.qr(noise(side, side, seed=seed + 10 + mode)).Q * 0.6 ** torch.arange(side)
        tensor = torch.tensordot(tensor, mixed, dims=([mode], [1])).movedim(-1, mode)
    return tensor.contiguous()


def distance(got: Tensor, wanted: Tensor) -> float:
    """Relative, in the Frobenius norm; of tensors of one shape."""
    assert got.shape == wanted.shape
    return float(torch.dist(got, wanted) / wanted.norm())


def projector(basis: Tensor) -> Tensor:
    """What an orthonormal basis spans, whatever its signs and order."""
    return basis @ basis.T


Counts = tuple[int, int]


def counted(call: Callable[[], Any]) -> tuple[Any, Counts]:
    """What `call` gives, and the words and calls of its collectives."""
    with counting() as counter:
        given = call()
    return given, (counter.words, len(counter.calls))


def is_cost(counts: list[Counts], cost: Volume) -> bool:
    """Whether the most of all ranks is exactly what the formula says."""
    return (max(words for words, _ in counts), max(calls for _, calls in counts)) == (cost.words, cost.messages)
