"""A layer whose weight is a tensor ring: 1×1 into r0 copies of a k×k convolution, and 1×1 out of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.layers import chain
from tnbench.layers.geometry import Geometry
from tnbench.linalg import tensor_ring


class TensorRing(nn.Module):
    """The ring of Wang, Sun, Eriksson, Wang and Aggarwal, "Wide compression: tensor ring nets" (2018).

    `inp` are the cores (r, i, r') of the input channels' factors, from r_0 to r_m; `kernel` is (r_m', r_m, *k), None
    for a linear layer, where r_m' is r_m; `out` are the cores of the output channels' factors, from r_m' back to r_0.
    Cores of one side are merged at each call, whatever the batch, which `macs` does not count.
    """

    def __init__(self, inp: Sequence[Tensor], kernel: Tensor | None, out: Sequence[Tensor], like: nn.Module) -> None:
        super().__init__()
        grows = cast(Tensor, like.weight).requires_grad
        self.inp = nn.ParameterList([nn.Parameter(core.detach().clone(), grows) for core in inp])
        self.kernel = None if kernel is None else nn.Parameter(kernel.detach().clone(), grows)
        self.out = nn.ParameterList([nn.Parameter(core.detach().clone(), grows) for core in out])
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        # In a tuple, because a module in an attribute would be a part of this one.
        self._like = (copy.deepcopy(like).to("meta"),)
        parts = chain.chain(self._weights(), like)
        self._steps = [None if kernel is None else (Geometry.of(part), cast(int, part.groups)) for part in parts]
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, *sides) to (N, O, *sides'), or (..., I) to (..., O) for a linear layer."""
        weights = self._weights()
        for index, (weight, step) in enumerate(zip(weights, self._steps, strict=True)):
            bias = self.bias if index == len(weights) - 1 else None
            if step is None:
                x = functional.linear(x, weight, bias)
            else:
                geometry, groups = step
                x = geometry.convolve(x, weight, bias, groups)
        return x

    def _weights(self) -> list[Tensor]:
        """(r_0 r_m, I), the kernel once for each of r_0, and (O, r_0 r_m'); for a convolution with sides of 1."""
        inp, out = tensor_ring.chain(list(self.inp)), tensor_ring.chain(list(self.out))
        first, last = inp.transpose(1, 2).flatten(0, 1), out.permute(1, 2, 0).flatten(1)
        if self.kernel is None:
            return [first, last]
        sides = (1,) * (self.kernel.dim() - 2)
        copies = self.kernel.repeat(len(inp), 1, *sides)
        return [first.reshape(*first.shape, *sides), copies, last.reshape(*last.shape, *sides)]

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Multiply-accumulates for what enters and leaves the layer, batch size included."""
        weights = [weight.numel() for weight in self._weights()]
        if self.kernel is None:
            return inp[:-1].numel() * sum(weights)
        sides = self.kernel.shape[2:]
        before = math.prod(o if side == 1 else i for i, o, side in zip(inp[2:], out[2:], sides, strict=True))
        return inp[0] * (weights[0] * before + (weights[1] + weights[2]) * out[2:].numel())

    def to_sequential(self) -> nn.Sequential:
        """The same function in plain layers: the cores merged, and the kernel once for each group of r_m channels."""
        (like,) = self._like
        layers = chain.chain(self._weights(), like)
        if self.bias is not None:
            layers[-1].bias = copy.deepcopy(self.bias)
        return layers.train(self.training)

    def extra_repr(self) -> str:
        """Factors of the channels, and the rank that closes the ring."""
        inp, out = ("x".join(str(core.shape[1]) for core in cores) for cores in (self.inp, self.out))
        return f"inp={inp}, out={out}, r0={self.inp[0].shape[0]}"
