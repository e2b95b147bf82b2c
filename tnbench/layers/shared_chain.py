"""One layer of several that share their factors: a chain with one factor mixed for this layer from what all hold."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Shape
from tnbench.layers import chain, plain
from tnbench.layers.geometry import Geometry


class SharedChain(nn.Module):
    """The chain of `factors`, in place of `like`, where factor number `mixed` is the layer's own mixture.

    Factors are those of `tnbench.layers.chain`, as Parameters: given to several of these modules they are one object
    in all of them, and stay so in copies of the network. With a `shape` (out, in / groups, *k) the mixed one is a
    stack (a, out · in / groups · k) of such factors, flat, of which the layer takes the sum weighted by its `row` (a,);
    otherwise a factor whose input channels are scaled by the `row` (in / groups,). Mixing costs as many
    multiplications as the mixed factor has entries, whatever the size of the batch; `macs` counts the chain alone.
    """

    def __init__(
        self,
        factors: Sequence[nn.Parameter],
        row: Tensor,
        mixed: int,
        like: nn.Module,
        *,
        shape: Shape | None = None,
    ) -> None:
        super().__init__()
        own = cast(Tensor, like.weight)
        self.factors = nn.ParameterList(factors)
        # With two dimensions, as it is a weight: optimisers take those with one for biases.
        self.row = nn.Parameter(row.detach().clone()[None], requires_grad=own.requires_grad)
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self.mixed, self.shape = mixed, shape
        self.geometry = None if isinstance(like, nn.Linear) else Geometry.of(like)
        layers = chain.chain(self.weights(), like)
        self._steps = [(None if self.geometry is None else Geometry.of(part), _groups(part)) for part in layers]
        self.train(like.training)

    def weights(self) -> list[Tensor]:
        """The factors of this layer's own chain, first applied first."""
        return [self._mix(factor) if index == self.mixed else factor for index, factor in enumerate(self.factors)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *sides) to (N, O, *sides'), or (..., I) to (..., O) for a linear layer."""
        *inner, last = zip(self.weights(), self._steps, strict=True)
        for weight, step in inner:
            x = _apply(x, weight, None, *step)
        weight, step = last
        return _apply(x, weight, self.bias, *step)

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Multiply-accumulates of the chain, mixing apart, for what enters and leaves it, batch size included."""
        shapes = self._shapes()
        if self.geometry is None:
            return inp[:-1].numel() * sum(math.prod(shape) for shape in shapes)
        owners = [_owner(shapes, axis) for axis in range(len(self.geometry.sides))]
        total = 0
        for index, shape in enumerate(shapes):
            done = [owner <= index for owner in owners]
            positions = math.prod(out[2 + axis] if done[axis] else inp[2 + axis] for axis in range(len(done)))
            total += inp[0] * positions * math.prod(shape)
        return total

    def to_sequential(self) -> nn.Sequential:
        """The layer's own chain of plain torch layers, with copies of what it shares."""
        return chain.chain(self.weights(), self._like())

    def extra_repr(self) -> str:
        shapes = ", ".join("x".join(map(str, shape)) for shape in self._shapes())
        return f"{shapes}, number {self.mixed} mixed of {self.row.numel()}, bias={self.bias is not None}"

    def _mix(self, factor: Tensor) -> Tensor:
        if self.shape is not None:
            return (self.row @ factor).reshape(self.shape)
        return factor * self.row.reshape(1, -1, *[1] * (factor.dim() - 2))

    def _shapes(self) -> list[Shape]:
        """Of the factors of the layer's own chain."""
        shapes = [tuple(factor.shape) for factor in self.factors]
        return [self.shape or own if index == self.mixed else own for index, own in enumerate(shapes)]

    def _like(self) -> nn.Module:
        """A dense layer of this one's geometry, whose weight has no values."""
        first, *_, last = self._shapes()
        layer: Any
        if self.geometry is None:
            layer = nn.Linear(first[1], last[0], bias=False, device="meta")
        else:
            own, convolution = self.geometry, cast(Any, plain.CONVOLUTIONS[len(self.geometry.sides) - 1])
            layer = convolution(
                first[1],
                last[0],
                own.sides,
                own.stride,
                own.padding,
                own.dilation,
                bias=False,
                padding_mode=own.padding_mode,
                device="meta",
            )
        layer.weight.requires_grad_(self.row.requires_grad)
        layer.bias = self.bias
        return cast(nn.Module, layer.train(self.training))


def _apply(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry | None, groups: int) -> Tensor:
    if geometry is None:
        return functional.linear(x, weight, bias)
    return geometry.convolve(x, weight, bias, groups)


def _groups(layer: nn.Module) -> int:
    return int(getattr(layer, "groups", 1))


def _owner(shapes: Sequence[Shape], axis: int) -> int:
    return next((index for index, shape in enumerate(shapes) if shape[2 + axis] > 1), 0)
