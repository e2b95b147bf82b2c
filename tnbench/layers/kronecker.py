"""A convolution or linear layer whose weight is a sum of Kronecker products, executed without making the weight."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.layers import chain
from tnbench.layers.geometry import Geometry
from tnbench.layers.memory_format import like_input


def mixes_first(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether A (S, o1, i1) is applied before B (S, o2, i2, *k), which is fixed by their sizes.

    That is the order of fewer multiply-accumulates where input and output are of one size: A first takes
    S·o1·i2 (i1 + o2·k) at each position, B first S·i1·o2 (i2·k + o1). Where the kernel has a side of 1, B is first, so
    that its stride along it comes before all else.
    """
    sides = other[3:]
    if any(side == 1 for side in sides):
        return False
    return _macs(one, other, True, 1, 1) < _macs(one, other, False, 1, 1)


def kronecker_macs(one: Sequence[int], other: Sequence[int], before: int, after: int) -> int:
    """Multiply-accumulates for A (S, o1, i1) and B (S, o2, i2, *k), from `before` positions of input to `after`."""
    return _macs(one, other, mixes_first(one, other), before, after)


def _macs(one: Sequence[int], other: Sequence[int], mix_first: bool, before: int, after: int) -> int:
    (S, o1, i1), (_, o2, i2, *sides) = one, other
    k = math.prod(sides)
    if mix_first:
        return S * o1 * i2 * (i1 * before + o2 * k * after)
    return S * i1 * o2 * (i2 * k + o1) * after


class KroneckerSum(nn.Module):
    """The sum of A_s ⊗ B_s as weight, A (S, o1, i1) and B (S, o2, i2, *k), in place of the Conv or Linear `like`.

    Input channels are pairs (i1, i2) and output channels pairs (o1, o2). B is one small convolution for all i1 alike
    (or for all o1), with those in the batch; A mixes them in a matrix product.
    """

    def __init__(self, one: Tensor, other: Tensor, like: nn.Module) -> None:
        super().__init__()
        grows = cast(Tensor, like.weight).requires_grad
        self.one = nn.Parameter(one.detach().clone(), grows)
        # As a matrix: a whole network goes to channels_last by its parameters of four sides, and to no other by five.
        self.other = nn.Parameter(other.detach().flatten(1).clone(), grows)
        self._other_shape = other.shape
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self._mixes_first = mixes_first(one.shape, other.shape)
        self._geometry = None if isinstance(like, nn.Linear) else Geometry.of(like)
        # In a tuple, because a module in an attribute would be a part of this one.
        self._like = (copy.deepcopy(like).to("meta"),)
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, *sides) to (N, O, *sides'), or (..., I) to (..., O)."""
        if self._geometry is not None:
            return like_input(self._apply_factors(x), x)
        flat = self._apply_factors(x.reshape(-1, x.shape[-1]))
        return flat.reshape(*x.shape[:-1], flat.shape[-1])

    def _apply_factors(self, x: Tensor) -> Tensor:
        (o1, _), (o2, i2) = self.one.shape[1:], self._other_shape[1:3]
        mix, small = self._weights()
        if self._mixes_first:
            mixed = mix @ x.reshape(-1, mix.shape[1], i2, *x.shape[2:]).flatten(2)
            out = self._convolve(mixed.reshape(-1, small.shape[1], *x.shape[2:]), small)
            out = out.reshape(-1, o1 * o2, *out.shape[2:])
        else:
            inner = self._convolve(x.reshape(-1, i2, *x.shape[2:]), small)
            out = mix @ inner.reshape(-1, mix.shape[1], o2, *inner.shape[2:]).flatten(2)
            out = out.reshape(-1, o1 * o2, *inner.shape[2:])
        return out if self.bias is None else out + self.bias.reshape(-1, *(1 for _ in out.shape[2:]))

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight) if self._geometry is None else self._geometry.convolve(x, weight)

    def _weights(self) -> tuple[Tensor, Tensor]:
        """A as (o1·S, i1) and B as (o2, S·i2, *k) where A is first, else A as (o1, i1·S) and B as (S·o2, i2, *k)."""
        other = self.other.reshape(self._other_shape)
        if self._mixes_first:
            return self.one.transpose(0, 1).flatten(0, 1), other.transpose(0, 1).flatten(1, 2)
        return self.one.permute(1, 2, 0).flatten(1), other.flatten(0, 1)

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Multiply-accumulates for what enters and leaves the layer, batch size included."""
        if self._geometry is None:
            positions = out[:-1].numel()
            return kronecker_macs(self.one.shape, self._other_shape, positions, positions)
        return inp[0] * kronecker_macs(self.one.shape, self._other_shape, inp[2:].numel(), out[2:].numel())

    def to_sequential(self) -> nn.Sequential:
        """The same function as grouped convolutions and shuffles of channels, with as many multiply-accumulates.

        Each group has a copy of what is one factor here, so there are more parameters. In place of a linear layer it
        takes (N, I) alone.
        """
        linear = self._geometry is None
        (S, o1, i1), (o2, i2) = self.one.shape, self._other_shape[1:3]
        like: Any = nn.Conv1d(i1 * i2, o1 * o2, 1, bias=False, device="meta") if linear else self._like[0]
        mix, small = (weight.detach() for weight in self._weights())
        mix = mix.reshape(*mix.shape, *(1 for _ in like.kernel_size))
        small = small.unsqueeze(-1) if linear else small
        if self._mixes_first:
            first, second = chain.chain([_repeated(mix, i2), _repeated(small, o1)], like)
            layers: list[nn.Module] = [nn.ChannelShuffle(i1), first, nn.ChannelShuffle(i2), second]
        else:
            first, second = chain.chain([_repeated(small, i1), _repeated(mix, o2)], like)
            layers = [first, nn.ChannelShuffle(i1 * S), second, nn.ChannelShuffle(o2)]
        if self.bias is not None:
            bias = self.bias.detach()
            second.bias = nn.Parameter(bias.clone() if self._mixes_first else bias.reshape(o1, o2).T.flatten())
        if linear:
            layers = [nn.Unflatten(-1, (i1 * i2, 1)), *layers, nn.Flatten(-2)]
        return nn.Sequential(*layers).train(self.training)

    def extra_repr(self) -> str:
        shapes = ", ".join("x".join(map(str, shape)) for shape in (self.one.shape, self._other_shape))
        return f"{shapes}, bias={self.bias is not None}"


def _repeated(weight: Tensor, groups: int) -> Tensor:
    return weight.repeat(groups, *(1 for _ in weight.shape[1:]))
