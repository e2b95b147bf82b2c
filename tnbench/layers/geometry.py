"""How a convolution moves over its input, apart from its weight: stride, padding, dilation and padding mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

_CONVOLVE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


@dataclass(frozen=True)
class Geometry:
    """The geometry of one convolution. `sides` are its kernel's.

    `reach` is its padding in the order in which torch's `pad` takes it, for padding modes other than zeros.
    """

    sides: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    padding_mode: str
    reach: tuple[int, ...]

    @classmethod
    def of(cls, layer: Any) -> Geometry:
        """The geometry of a Conv1d, Conv2d or Conv3d."""
        convolution: _ConvNd = layer
        return cls(
            tuple(convolution.kernel_size),
            tuple(convolution.stride),
            convolution.padding if isinstance(convolution.padding, str) else tuple(convolution.padding),
            tuple(convolution.dilation),
            convolution.padding_mode,
            tuple(convolution._reversed_padding_repeated_twice),
        )

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
        """Convolve (N, C, *sides) with `weight` (O, C / groups, *k), whose sides are the geometry's."""
        convolve = _CONVOLVE[len(self.sides)]
        if self.padding_mode == "zeros":
            return convolve(x, weight, bias, self.stride, self.padding, self.dilation, groups)
        padded = functional.pad(x, self.reach, mode=self.padding_mode)
        return convolve(padded, weight, bias, self.stride, 0, self.dilation, groups)
