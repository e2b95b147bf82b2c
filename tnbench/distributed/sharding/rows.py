"""Layers on a rank's own rows of an image that the ranks share: convolutions, pooling, means."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from tnbench.distributed.collectives import Group
from tnbench.distributed.functions import copy_all_to_ranks, sum_over_ranks
from tnbench.distributed.halo import ROWS, Window, with_halo
from tnbench.distributed.sharding.chains import Factor, factors
from tnbench.distributed.sharding.shapes import padding
from tnbench.layers.geometry import Geometry

_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Place(NamedTuple):
    """Which image the ranks of `group` share: one of `rows` rows."""

    rows: int
    group: Group


class RowConvolutions(nn.Module):
    """A chain of convolutions, or one, of which each rank computes its rows. Only kernels higher than 1 need halos.

    The weights are whole on each rank and a rank's rows give a part of their gradient, which one all-reduce sums.
    """

    def __init__(self, chain: nn.Module, place: Place) -> None:
        super().__init__()
        self.chain, self.place = chain, place

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H', ...), the rank's rows, to its rows of the output."""
        rows, group = self.place
        names, own = zip(*self.chain.named_parameters(), strict=True)
        whole = dict(zip(names, copy_all_to_ranks(own, group), strict=True))
        prefixes = [f"{index}." for index in range(len(factors(self.chain)))]
        if not isinstance(self.chain, nn.Sequential):
            prefixes = [""]
        for prefix, layer in zip(prefixes, factors(self.chain), strict=True):
            window = rows_window(layer)
            x = _convolve(
                layer, shifted(x, window, Place(rows, group)), whole[f"{prefix}weight"], whole.get(f"{prefix}bias")
            )
            rows = window.outputs(rows)
        return x


def rows_window(layer: Factor) -> Window:
    """How a convolution slides over the rows."""
    geometry = Geometry.of(layer)
    return Window(geometry.sides[0], geometry.stride[0], *padding(geometry, 0), geometry.dilation[0])


def shifted(x: Tensor, window: Window, place: Place, fill: float = 0.0) -> Tensor:
    """The rows that `window` wants, which are a rank's own where it looks at one row at a time."""
    return x if window == Window() else with_halo(x, window, place.rows, place.group, fill)


def _convolve(layer: Factor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    geometry = Geometry.of(layer)
    axes = range(len(geometry.sides))
    around = (0, *(padding(geometry, axis)[0] for axis in axes[1:]))
    groups = cast(nn.Conv2d, layer).groups
    return _CONVOLVE[len(axes)](x, weight, bias, geometry.stride, around, geometry.dilation, groups)


class RowPool(nn.Module):
    """Maximum or average pooling of a rank's rows."""

    def __init__(self, pool: nn.MaxPool2d | nn.AvgPool2d, place: Place) -> None:
        super().__init__()
        self.window, self.place = pool_window(pool), place
        self.fill = -math.inf if isinstance(pool, nn.MaxPool2d) else 0.0
        self.pool = _without_padding_of_rows(pool)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H', W), the rank's rows, to its rows of the output."""
        return cast(Tensor, self.pool(shifted(x, self.window, self.place, self.fill)))


def pool_window(pool: nn.MaxPool2d | nn.AvgPool2d) -> Window:
    """How a pooling slides over the rows."""
    around = _pair(pool.padding)[0]
    dilation = _pair(pool.dilation)[0] if isinstance(pool, nn.MaxPool2d) else 1
    return Window(_pair(pool.kernel_size)[0], _pair(pool.stride)[0], around, around, dilation)


def _without_padding_of_rows(pool: nn.MaxPool2d | nn.AvgPool2d) -> nn.Module:
    around = (0, _pair(pool.padding)[1])
    if isinstance(pool, nn.MaxPool2d):
        return nn.MaxPool2d(pool.kernel_size, pool.stride, around, pool.dilation)
    return nn.AvgPool2d(pool.kernel_size, pool.stride, around)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class RowSlice(nn.Module):
    """``x[:, :, ::s, ::s]`` of a rank's rows."""

    def __init__(self, steps: tuple[int, ...], place: Place) -> None:
        super().__init__()
        self.steps, self.place = steps, place

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H', W), the rank's rows, to its rows of the output."""
        kept = shifted(x, Window(stride=self.steps[0]), self.place)
        return kept[(slice(None), slice(None), *(slice(None, None, step) for step in self.steps))]


class RowMean(nn.Module):
    """The mean over all sides, whole on each rank: an all-reduce of one number per picture and channel."""

    def __init__(self, keep_sides: bool, place: Place) -> None:
        super().__init__()
        self.keep_sides, self.place = keep_sides, place

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H', W), the rank's rows, to (N, C), or (N, C, 1, 1)."""
        sides = list(range(ROWS, x.dim()))
        values = self.place.rows * math.prod(x.shape[ROWS + 1 :])
        return sum_over_ranks(x.sum(sides, keepdim=self.keep_sides), self.place.group) / values
