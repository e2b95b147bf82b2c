"""A convolution whose kernel is a tensor train over space and pairs of channel factors."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.layers.geometry import Geometry
from tnbench.layers.memory_format import like_input
from tnbench.layers.plain import CONVOLUTIONS
from tnbench.layers.tt_linear import mix, modes_of, train_macs


class TTConv(nn.Module):
    """The TT-convolution of Garipov, Podoprikhin, Novikov and Vetrov, "Ultimate tensorization" (2016).

    Every input channel is convolved with the same r_1 filters, `kernel` (r_1, 1, *k); then at each position a TT-matrix
    (see `TTLinear`) takes the pairs of rank and channel to the outputs: core j is (o_j r_{j+1}, r_j, i_j).
    """

    def __init__(self, factors: Sequence[Tensor], like: nn.Module) -> None:
        super().__init__()
        kernel, *cores = factors
        grows = cast(Tensor, like.weight).requires_grad
        self.out, self.inp, self.ranks = modes_of(cores)
        self.kernel = nn.Parameter(kernel.detach().clone(), grows)
        self.cores = nn.ParameterList([nn.Parameter(core.detach().clone(), grows) for core in cores])
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self.geometry = Geometry.of(like)
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, *sides) to (N, O, *sides')."""
        channels = math.prod(self.inp)
        filtered = self.geometry.convolve(x, self._filters(), groups=channels)
        sides = filtered.shape[2:]
        # Ranks before channels, as the cores take them.
        state = filtered.reshape(x.shape[0], channels, self.ranks[0], sides.numel()).transpose(1, 2)
        batch = x.shape[0]
        for core, inp, out in zip(self.cores, self.inp, self.out, strict=True):
            channels //= inp
            state = mix(core.flatten(1), state.reshape(batch, core.shape[1] * inp, channels * sides.numel()))
            batch = batch * out
        y = state.reshape(x.shape[0], math.prod(self.out), *sides)
        if self.bias is not None:
            y = y + self.bias.reshape(-1, *(1 for _ in sides))
        return like_input(y, x)

    def _filters(self) -> Tensor:
        """The filters once for each channel."""
        return self.kernel.repeat(math.prod(self.inp), *(1 for _ in self.kernel.shape[1:]))

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Executed multiply-accumulates for what enters and leaves, batch size included."""
        return inp[0] * out[2:].numel() * tt_conv_macs(self.kernel.shape[2:], self.out, self.inp, self.ranks)

    def to_sequential(self) -> nn.Sequential:
        """The same function in plain layers: a depthwise convolution, then 1x1 ones between changes of shape.

        The filters stand there once for each channel, and the last core once for each of its positions.
        """
        convolution = CONVOLUTIONS[len(self.geometry.sides) - 1]
        channels, rank, done = math.prod(self.inp), self.ranks[0], 1
        first: Any = convolution(
            channels,
            channels * rank,
            cast(Any, self.geometry.sides),
            cast(Any, self.geometry.stride),
            cast(Any, self.geometry.padding),
            cast(Any, self.geometry.dilation),
            groups=channels,
            bias=False,
            padding_mode=cast(Any, self.geometry.padding_mode),
            device="meta",
        )
        first.weight = nn.Parameter(self._filters().detach(), self.kernel.requires_grad)
        layers: list[nn.Module] = [first, nn.ChannelShuffle(channels)]
        for core, inp, out in zip(self.cores[:-1], self.inp, self.out, strict=False):
            channels //= inp
            layers += [nn.Unflatten(1, (core.shape[1] * inp, channels)), nn.Flatten(2, 3)]
            layers += [self._pointwise(core.flatten(1)), nn.Unflatten(1, (out, -1)), nn.Flatten(0, 1)]
            layers += [nn.Unflatten(2, (channels, -1)), nn.Flatten(1, 2)]
            done *= out
        layers += [nn.Unflatten(0, (-1, done)), nn.Flatten(1, 2)]
        layers.append(self._pointwise(self.cores[-1].flatten(1).repeat(done, 1), done, self.bias))
        return nn.Sequential(*layers).train(self.training)

    def _pointwise(self, matrix: Tensor, groups: int = 1, bias: nn.Parameter | None = None) -> nn.Module:
        out, inner = matrix.shape
        ones = (1,) * len(self.geometry.sides)
        layer: Any = CONVOLUTIONS[len(ones) - 1](
            inner * groups, out, cast(Any, ones), groups=groups, bias=bias is not None, device="meta"
        )
        layer.weight = nn.Parameter(matrix.detach().clone().reshape(out, inner, *ones), matrix.requires_grad)
        if bias is not None:
            layer.bias = copy.deepcopy(bias)
        return cast(nn.Module, layer)

    def extra_repr(self) -> str:
        """Factors of the channels, and the ranks."""
        return f"inp={'x'.join(map(str, self.inp))}, out={'x'.join(map(str, self.out))}, ranks={self.ranks[:-1]}"


def tt_conv_macs(sides: Sequence[int], out: Sequence[int], inp: Sequence[int], ranks: Sequence[int]) -> int:
    """k r_1 I and the train's products, at one position of the output; `ranks` are r_1, ..., r_d, 1."""
    return math.prod(sides) * ranks[0] * math.prod(inp) + train_macs(out, inp, ranks)
