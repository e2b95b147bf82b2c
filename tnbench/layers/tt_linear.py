"""A linear layer whose matrix is a tensor train: one matrix product per core."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class TTLinear(nn.Module):
    """The TT-layer of Novikov, Podoprikhin, Osokin and Vetrov, "Tensorizing neural networks" (2015).

    Core j is (o_j r_j, r_{j-1}, i_j): its product takes the j-th factor of the inputs and the rank before it away and
    gives the j-th factor of the outputs and the rank behind it. Inside, the inputs' positions are the last axis, so
    that a product of few rows still has many columns, and nothing is moved between the first product and the last.
    """

    def __init__(self, factors: Sequence[Tensor], like: nn.Linear) -> None:
        super().__init__()
        self.out, self.inp, self.ranks = modes_of(factors)
        grows = like.weight.requires_grad
        self.cores = nn.ParameterList([nn.Parameter(factor.detach().clone(), grows) for factor in factors])
        self.bias = copy.deepcopy(cast(nn.Parameter | None, like.bias))
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        done, rest = 1, math.prod(self.inp)
        state = x.reshape(-1, rest).T
        positions = state.shape[1]
        for core, inp, out in zip(self.cores[:-1], self.inp, self.out, strict=False):
            rest //= inp
            state = mix(core.flatten(1), state.reshape(done, core.shape[1] * inp, rest * positions))
            done *= out
        last = self.cores[-1].flatten(1)
        rows = state.reshape(done, last.shape[1], positions).permute(2, 0, 1)
        y = functional.linear(rows, last).reshape(*x.shape[:-1], math.prod(self.out))
        return y if self.bias is None else y + self.bias

    def macs(self, inp: torch.Size, out: torch.Size) -> int:
        """Executed multiply-accumulates for an input of size `inp`."""
        return inp[:-1].numel() * train_macs(self.out, self.inp, self.ranks)

    def to_sequential(self) -> nn.Sequential:
        """The same function of inputs (N, I) in plain layers: convolutions of one position between changes of shape.

        The last core stands there once for each of its positions, as a grouped convolution that has the bias.
        """
        layers: list[nn.Module] = [nn.Unflatten(1, (1, math.prod(self.inp)))]
        done, rest = 1, math.prod(self.inp)
        for core, inp, out in zip(self.cores[:-1], self.inp, self.out, strict=False):
            rest //= inp
            layers += [nn.Unflatten(2, (inp, rest)), nn.Flatten(1, 2)]
            layers += [_conv1d(core.flatten(1)), nn.Unflatten(1, (out, -1)), nn.Flatten(0, 1)]
            done *= out
        layers += [nn.Unflatten(0, (-1, done)), nn.Flatten(1), nn.Unflatten(1, (-1, 1))]
        layers += [_conv1d(self.cores[-1].flatten(1).repeat(done, 1), done, self.bias), nn.Flatten(1)]
        return nn.Sequential(*layers).train(self.training)

    def extra_repr(self) -> str:
        """Factors of the sizes, and the ranks between."""
        return f"inp={'x'.join(map(str, self.inp))}, out={'x'.join(map(str, self.out))}, ranks={self.ranks[1:-1]}"


def mix(matrix: Tensor, state: Tensor) -> Tensor:
    """(m, k) times each of (b, k, n): (b, m, n)."""
    # Not matmul, which would copy the state to make one product of it where gradients are kept.
    return torch.bmm(matrix.expand(state.shape[0], -1, -1), state)


def train_macs(out: Sequence[int], inp: Sequence[int], ranks: Sequence[int]) -> int:
    """Σ_j r_{j-1} r_j i_j o_j ∏_{l<j} o_l ∏_{l>j} i_l, with `ranks` r_0, ..., r_d."""
    return sum(ranks[j] * ranks[j + 1] * math.prod(out[: j + 1]) * math.prod(inp[j:]) for j in range(len(inp)))


def pack(core: Tensor) -> Tensor:
    """(o r', r, i), as the products take it, of a core (r, o, i, r')."""
    return core.permute(1, 3, 0, 2).flatten(0, 1)


def unpack(factors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Cores (r, o, i, r') of packed ones that follow one another."""
    _, _, ranks = modes_of(factors)
    return tuple(
        factor.reshape(-1, after, *factor.shape[1:]).permute(2, 0, 3, 1)
        for factor, after in zip(factors, ranks[1:], strict=True)
    )


def modes_of(factors: Sequence[Tensor]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(o_1, ...), (i_1, ...) and (r_0, ..., r_d) of packed cores."""
    ranks = (*(factor.shape[1] for factor in factors), 1)
    out = tuple(factor.shape[0] // after for factor, after in zip(factors, ranks[1:], strict=True))
    return out, tuple(factor.shape[2] for factor in factors), ranks


def _conv1d(matrix: Tensor, groups: int = 1, bias: nn.Parameter | None = None) -> nn.Conv1d:
    out, inner = matrix.shape
    layer = nn.Conv1d(inner * groups, out, 1, groups=groups, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(matrix.detach().clone()[:, :, None], matrix.requires_grad)
    if bias is not None:
        layer.bias = copy.deepcopy(bias)
    return layer
