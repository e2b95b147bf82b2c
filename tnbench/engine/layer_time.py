"""How long a layer takes by itself."""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor, nn

from tnbench.measure.clock import time_calls

_WARM_UP, _SAMPLES = 2, 7


def forward_ms(layer: nn.Module, inputs: Tensor, *, least_s: float) -> float:
    """Median milliseconds of a forward pass of `layer` on `inputs`, of 7 samples of `least_s` seconds or more each."""
    with torch.inference_mode():
        seconds = time_calls(
            lambda: layer(inputs), device=inputs.device, warmup=_WARM_UP, samples=_SAMPLES, least_s=least_s
        )
    return 1e3 * median(seconds)
