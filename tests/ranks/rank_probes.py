"""Candidates and probes from real methods on small weights, with every answer counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Pixels, Ranks
from tnbench.methods import svd, tt, tucker2


def weight(*shape: int, seed: int = 0, decay: float = 1.0) -> Tensor:
    """A float64 weight whose modes decay like n^-decay."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(*shape, generator=generator, dtype=torch.float64)
    for mode, side in enumerate(shape):
        basis = torch.linalg.qr(torch.randn(side, side, generator=generator, dtype=torch.float64)).Q
        decaying = basis / torch.arange(1, side + 1) ** decay
        kernel = torch.tensordot(decaying, kernel, dims=([1], [mode])).movedim(0, mode)
    return kernel


def candidate(method: Any, shape: tuple[int, ...], name: str = "conv", pixels: Pixels | None = None) -> Candidate:
    def count(ranks: Ranks) -> int:
        return int(method.count(shape, ranks))

    def macs(ranks: Ranks) -> int:
        assert pixels is not None
        return int(method.macs(shape, ranks, pixels))

    dense, largest = math.prod(shape), method.largest_ranks(shape)
    if pixels is None:
        return Candidate(name, shape, dense, largest, count)
    return Candidate(name, shape, dense, largest, count, macs, dense * pixels.out)


def unfoldings(method: Any, kernel: Tensor) -> tuple[Tensor, ...]:
    """The matrices whose singular values the ranks of `method` cut."""
    if method is svd or kernel.dim() == 2:
        return (kernel.flatten(1),)
    if method is tucker2:
        return kernel.transpose(0, 1).flatten(1), kernel.flatten(1)
    assert method is tt
    train = kernel.permute(1, 2, 3, 0)
    I, kH, kW, _ = train.shape
    return tuple(train.reshape(rows, -1) for rows in (I, I * kH, I * kH * kW))


class Probe:
    """A probe of weights under one method; `asked` counts factorisations, timings and evaluations."""

    def __init__(
        self,
        method: Any = None,
        weights: Mapping[str, Tensor] | None = None,
        *,
        elsewhere: int = 0,
        macs_elsewhere: int = 0,
        spectral: bool = True,
        latency: Callable[[str, Ranks | None], float] | None = None,
        drop: Callable[[Mapping[str, Ranks]], float] | None = None,
        tables: Mapping[str, Mapping[str, Ranks]] | None = None,
    ) -> None:
        self.method, self.weights, self.spectral = method, weights or {}, spectral
        self.elsewhere, self.macs_elsewhere = elsewhere, macs_elsewhere
        self.tables, self._latency, self._drop, self.asked = tables or {}, latency, drop, 0

    def weight(self, name: str) -> Tensor:
        return self.weights[name]

    def spectra(self, name: str) -> tuple[Tensor, ...]:
        if not self.spectral:
            raise NotApplicable("no spectra here")
        return tuple(torch.linalg.svdvals(matrix) for matrix in unfoldings(self.method, self.weights[name]))

    def error(self, name: str, ranks: Ranks) -> float:
        self.asked += 1
        kernel, options = self.weights[name], self.method.Options()
        factors = self.method.factorise(kernel, ranks, seed=0, options=options)
        return float((kernel - self.method.dense(factors)).norm() / (kernel.norm() or 1.0))

    def latency_ms(self, name: str, ranks: Ranks | None) -> float:
        assert self._latency is not None
        self.asked += 1
        return self._latency(name, ranks)

    def drop(self, choices: Mapping[str, Ranks]) -> float:
        assert self._drop is not None
        self.asked += 1
        return self._drop(choices)

    def table(self, name: str) -> Mapping[str, Ranks]:
        return self.tables[name]


class Scratch(Probe):
    """What a policy is told where training starts from random weights."""

    def spectra(self, name: str) -> tuple[Tensor, ...]:
        raise NotApplicable("training starts from scratch: no spectra")

    def error(self, name: str, ranks: Ranks) -> float:
        raise NotApplicable("training starts from scratch: no errors")
