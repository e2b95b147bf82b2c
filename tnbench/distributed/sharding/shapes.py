"""Sizes within a chain, from the sizes of its layers and of what enters, without any data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from tnbench.core.protocols import Shape
from tnbench.distributed.sharding.chains import Factor, channels, factors
from tnbench.layers.geometry import Geometry


class Sizes(NamedTuple):
    """What enters and what leaves one factor for one picture: (C, *sides), or (I,) for a linear layer."""

    layer: Factor
    inp: Shape
    out: Shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""
        return self.layer.weight.numel() * math.prod(self.out[1:])


def sizes(chain: nn.Module, in_shape: Shape) -> list[Sizes]:
    """Of each factor of `chain`, first applied first, for a picture (C, *sides), or (I,)."""
    return list(_along(factors(chain), in_shape))


def _along(layers: list[Factor], shape: Shape) -> Iterator[Sizes]:
    for layer in layers:
        inp, out = channels(layer)
        if shape[0] != inp:
            raise ValueError(
                f"got {shape[0]} channels for a factor of {inp}; wanted the shape of what enters the chain"
            )
        leaves = (out,) if isinstance(layer, nn.Linear) else (out, *out_sides(Geometry.of(layer), shape[1:]))
        yield Sizes(layer, shape, leaves)
        shape = leaves


def out_sides(geometry: Geometry, sides: Shape) -> Shape:
    """Sides of what a convolution makes of an image with `sides`."""
    return tuple(_out_side(geometry, axis, side) for axis, side in enumerate(sides))


def padding(geometry: Geometry, axis: int) -> tuple[int, int]:
    """Padding before and after along one axis."""
    if geometry.padding == "same":
        reach = geometry.dilation[axis] * (geometry.sides[axis] - 1)
        return reach // 2, reach - reach // 2
    if isinstance(geometry.padding, str):
        return 0, 0
    return geometry.padding[axis], geometry.padding[axis]


def _out_side(geometry: Geometry, axis: int, side: int) -> int:
    reach = geometry.dilation[axis] * (geometry.sides[axis] - 1)
    return (side + sum(padding(geometry, axis)) - reach - 1) // geometry.stride[axis] + 1
