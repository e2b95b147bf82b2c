"""Contiguous or channels_last: whichever a layer is faster in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from .contest import Duel
from .interleave import interleave

if TYPE_CHECKING:
    from torch import Tensor, nn

_Call = TypeVar("_Call", bound=Callable[[], Any])
_ROUNDS = 15


def faster(
    layer: nn.Module, tensors: Sequence[Tensor], make: Callable[[nn.Module, Sequence[Tensor]], _Call]
) -> tuple[_Call, str]:
    """The call that `make` makes of the layer and its tensors, in the layout with the lower median of a few calls.

    Both layouts are timed in turns. Layers and tensors without two spatial sides have one layout only.
    """
    import torch

    plain = make(layer, tensors)
    if any(tensor.dim() != 4 for tensor in tensors):
        return plain, "contiguous"
    last = make(
        _channels_last(copy.deepcopy(layer)),
        [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors],
    )
    seconds = interleave(Duel(lambda _: plain(), lambda _: last()), _ROUNDS)
    return (plain, "contiguous") if median(seconds.ours) <= median(seconds.theirs) else (last, "channels_last")


def _channels_last(layer: nn.Module) -> nn.Module:
    """`layer` with its kernels in that layout; ``Module.to`` refuses a layer that has tensors of five sides."""
    import torch

    for parameter in layer.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return layer
