"""Monarch factors as layers: a block-diagonal map, a permutation, a block-diagonal map, a permutation."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.layers import chain


def monarch(first: Tensor, second: Tensor, like: nn.Module) -> nn.Module:
    """Factors (k, r, l, p) and (l, q, k, r) in place of the 1×1 convolution or Linear `like` from k·p to q·l channels.

    A convolution becomes plain layers: grouped 1×1 convolutions and shuffles of channels. A linear layer becomes a
    `MonarchLinear`, since torch has no grouped one.
    """
    return MonarchLinear(first, second, like) if isinstance(like, nn.Linear) else _shuffled(first, second, like)


def _shuffled(first: Tensor, second: Tensor, like: Any) -> nn.Sequential:
    k, r, l, _ = first.shape
    ones = [1 for _ in like.kernel_size]
    weights = [
        first.flatten(0, 2).unflatten(-1, (-1, *ones)),
        second.flatten(2).flatten(0, 1).unflatten(-1, (-1, *ones)),
    ]
    one, other = chain.chain(weights, like)
    if like.bias is not None:
        # The last convolution has the channels (l, q); its shuffle makes (q, l) of them.
        other.bias = nn.Parameter(like.bias.detach().reshape(-1, l).T.flatten(), like.bias.requires_grad)
    return nn.Sequential(one, nn.ChannelShuffle(k * r), other, nn.ChannelShuffle(l)).train(like.training)


class MonarchLinear(nn.Module):
    """Factors (k, r, l, p) and (l, q, k, r) as a linear layer from k·p to q·l features, in place of `like`."""

    def __init__(self, first: Tensor, second: Tensor, like: nn.Module) -> None:
        super().__init__()
        grows = cast(Tensor, like.weight).requires_grad
        self.first = nn.Parameter(first.detach().clone(), grows)
        self.second = nn.Parameter(second.detach().clone(), grows)
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        k, r, l, p = self.first.shape
        inner: Tensor = x.reshape(-1, k, p).transpose(0, 1) @ self.first.flatten(1, 2).transpose(1, 2)
        inner = inner.unflatten(-1, (r, l)).permute(3, 1, 0, 2).flatten(2)
        out: Tensor = (inner @ self.second.flatten(2).transpose(1, 2)).permute(1, 2, 0).flatten(1)
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], out.shape[-1])

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Multiply-accumulates for what enters and leaves the layer, batch size included."""
        return inp[:-1].numel() * (self.first.numel() + self.second.numel())

    def to_sequential(self) -> nn.Sequential:
        """The same function as grouped convolutions and shuffles, with as many weights, for inputs (N, I) alone."""
        (k, _, l, p), (_, q, *_) = self.first.shape, self.second.shape
        like = nn.Conv1d(k * p, q * l, 1, bias=False, device="meta")
        like.weight.requires_grad_(self.first.requires_grad)
        like.bias = self.bias
        inner = _shuffled(self.first, self.second, like)
        return nn.Sequential(nn.Unflatten(-1, (k * p, 1)), *inner, nn.Flatten(-2)).train(self.training)

    def extra_repr(self) -> str:
        k, r, l, p = self.first.shape
        return f"{k * p} to {self.second.shape[1] * l}, {l}x{k} blocks of rank {r}, bias={self.bias is not None}"
