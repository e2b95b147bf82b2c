"""What bounds a layer's speed on this machine: arithmetic, memory, or the launching of its parts.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures"
(2009), with the time of launches beside the two roofs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from tnbench.measure.clock import time_calls

_GEMM_SIDE = {"cpu": 512, "cuda": 4096}
_COPY_BYTES = {"cpu": 64 * 2**20, "cuda": 1024 * 2**20}
_WARM_UP, _SAMPLES = 2, 7


@dataclass(frozen=True)
class Machine:
    """What a device with its present threads reaches: FLOPs and bytes per second, and seconds for a tiny operation."""

    flops_per_s: float
    bytes_per_s: float
    launch_s: float


@dataclass(frozen=True)
class Work:
    """What a layer does in a forward pass: FLOPs, bytes that it has to read and write, operations that it launches."""

    flops: int
    bytes: int
    launches: int

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes

    def bound(self, machine: Machine) -> str:
        """``compute``, ``memory`` or ``launches``: which of the three alone would take longest."""
        seconds = {
            "compute": self.flops / machine.flops_per_s,
            "memory": self.bytes / machine.bytes_per_s,
            "launches": self.launches * machine.launch_s,
        }
        return max(seconds, key=lambda name: seconds[name])


def measure_machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure `device` with the threads that torch has now, once per process: the best of a few calls each.

    The peak is that of a square matrix product of torch's own, the bandwidth that of a copy (read and written bytes
    count), and a launch an addition of a few numbers.
    """
    return _measured(str(device), dtype, torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32)


@cache
def _measured(device: str, dtype: torch.dtype, threads: int, tf32: bool) -> Machine:
    kind = torch.device(device).type
    side = _GEMM_SIDE[kind]
    square = torch.ones(side, side, dtype=dtype, device=device)
    source = torch.ones(_COPY_BYTES[kind] // square.element_size(), dtype=dtype, device=device)
    target, few = torch.empty_like(source), torch.ones(8, dtype=dtype, device=device)
    return Machine(
        flops_per_s=2 * side**3 / _least(lambda: square @ square, device),
        bytes_per_s=2 * _COPY_BYTES[kind] / _least(lambda: target.copy_(source), device),
        launch_s=_least(lambda: few + few, device),
    )


def _least(call: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of a few calls: what the machine can do, not what it mostly does."""
    with torch.inference_mode():
        return min(time_calls(call, device=device, warmup=_WARM_UP, samples=_SAMPLES))
