"""What reaches a layer on calibration pictures: second moments of patches, for solvers that weigh errors by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Stats
from tnbench.engine.evaluate import mode_of

RIDGE = 1e-4
"""Share of the moment's mean diagonal that is added to the diagonal: directions that no picture excited count a little.

Without it a layer's weight would be free in them, and other pictures would see noise.
"""
LEAST_PICTURES = 1024
_BATCH = 32


@dataclass(frozen=True)
class Calibration:
    """Normalised training pictures (N, C, H, W), unaugmented, on the network's device; `digest` identifies them."""

    pictures: Tensor
    digest: str


def patch_stats(model: nn.Module, layer: nn.Module, calibration: Calibration) -> Stats:
    """Second moment of the patches that reach `layer`, a part of `model`, with the ridge on its diagonal.

    `model` is the network as compressed so far, so the moment is that of activations behind compressed predecessors.
    """
    total: list[Tensor] = []

    def add(inputs: Tensor) -> None:
        patches = _patches(layer, inputs.detach()).double()
        total[:] = [patches.T @ patches + (total[0] if total else 0.0)]

    try:
        count = run_to(model, layer, calibration.pictures, add)
    except RuntimeError as error:
        raise UsageError(f"calibration: the network does not take these pictures: {error}") from None
    if not total:
        raise NotApplicable("no calibration picture reaches it; skip the layer, or give more than no pictures")
    moment = total[0] / count
    if not bool(moment.isfinite().all()):
        raise NotApplicable("what reaches it on calibration pictures is not finite; look at the pictures' values")
    ridge = RIDGE * float(moment.diagonal().mean()) or RIDGE
    moment.diagonal().add_(ridge)
    channels = int(getattr(layer, "in_channels", 0)) or int(cast(Any, layer).in_features)
    return Stats(moment, channels, RIDGE, calibration.digest)


class _Reached(Exception):
    """The layer was reached: what follows it need not run."""


def run_to(model: nn.Module, layer: nn.Module, pictures: Tensor, use: Callable[[Tensor], None]) -> int:
    """Run `pictures` through `model` in eval mode up to `layer`, and `use` what enters it. The number of pictures."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        use(inputs[0])
        raise _Reached

    handle = layer.register_forward_pre_hook(hook)
    try:
        with mode_of(model, training=False), torch.no_grad():
            for batch in pictures.split(_BATCH):
                try:
                    model(batch)
                except _Reached:
                    continue
    finally:
        handle.remove()
    return len(pictures)


def _patches(layer: nn.Module, inputs: Tensor) -> Tensor:
    """(patches, I·k) in the order of ``weight.flatten(1)``; of all groups' channels."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1, layer.in_features)
    convolution = cast(_ConvNd, layer)
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    patches = functional.pad(inputs, convolution._reversed_padding_repeated_twice, mode=mode)
    spatial = len(convolution.kernel_size)
    for axis, (side, step, spread) in enumerate(
        zip(convolution.kernel_size, convolution.stride, convolution.dilation, strict=True)
    ):
        window = patches.unfold(2 + axis, spread * (side - 1) + 1, step)
        patches = window[..., ::spread]
    # (N, I, *positions, *k) -> (N·positions, I·k)
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    return patches.permute(*order).reshape(-1, convolution.in_channels * math.prod(convolution.kernel_size))
