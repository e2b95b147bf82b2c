"""A 1×1, a k×k and a 1×1 convolution, where the k×k weight is expanded from smaller factors at each forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.layers import chain
from tnbench.layers.geometry import Geometry


class ExpandedCore(nn.Module):
    """The chain of `factors`, in place of the convolution `like`, with all but the first and last one expanded.

    The first factor is (R1, I, 1, ...), the last one (O, R2, 1, ...); `expand` makes the weight (R2, R1, *k) of those
    between. All of them stay Parameters, so training moves the factors. Expanding costs the same whatever the size of
    the batch; `macs` counts the three convolutions alone, which are what is left of it in `to_sequential`.
    """

    def __init__(self, factors: Sequence[Tensor], expand: Callable[..., Tensor], like: nn.Module) -> None:
        super().__init__()
        grows = cast(Tensor, like.weight).requires_grad
        self.factors = nn.ParameterList(nn.Parameter(factor.detach().clone(), grows) for factor in factors)
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self._expand = expand
        # In a tuple, because a module in an attribute would be a part of this one.
        self._like = (_without_values(like),)
        self._geometries = [Geometry.of(part) for part in self.to_sequential()]
        self.train(like.training)

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights of the three convolutions, first applied first."""
        first, *between, last = self.factors
        return first, self._expand(*between), last

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, *sides) to (N, O, *sides')."""
        first, core, last = self.weights()
        into, through, out = self._geometries
        return out.convolve(through.convolve(into.convolve(x, first), core), last, self.bias)

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Multiply-accumulates of the convolutions, for what enters and leaves them, batch size included."""
        first, core, last = self.weights()
        # Along an axis where the kernel's side is 1 the first convolution has the stride.
        sides = zip(core.shape[2:], inp[2:], out[2:], strict=True)
        into = torch.Size(before if side > 1 else after for side, before, after in sides).numel()
        return inp[0] * (into * first.numel() + out[2:].numel() * (core.numel() + last.numel()))

    def to_sequential(self) -> nn.Sequential:
        """The same function as three plain convolutions, with the expanded weight as one of theirs."""
        like = _with_bias(self._like[0], self.bias).train(self.training)
        return chain.chain([weight.detach() for weight in self.weights()], like)

    def extra_repr(self) -> str:
        shapes = ", ".join("x".join(map(str, factor.shape)) for factor in self.factors)
        return f"{shapes}, bias={self.bias is not None}"


def _without_values(layer: nn.Module) -> nn.Module:
    """A convolution of the same geometry without memory and without bias."""
    twin: Any = copy.copy(layer)
    weight = cast(Tensor, layer.weight)
    twin._parameters = {"weight": nn.Parameter(weight.to("meta"), weight.requires_grad), "bias": None}
    return cast(nn.Module, twin)


def _with_bias(layer: nn.Module, bias: nn.Parameter | None) -> nn.Module:
    twin: Any = copy.copy(layer)
    twin._parameters = layer._parameters | {"bias": bias}
    return cast(nn.Module, twin)
