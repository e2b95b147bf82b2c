"""Peak memory above the start of a stage, reset at each start: a small case after a large one reads small."""

from __future__ import annotations

import ctypes
import gc
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil
import torch

_POLL_S = 0.002


class PeakMemory:
    """Measure a block: ``with PeakMemory(device) as peak: ...``, then ``peak.bytes``.

    On a GPU: the caching allocator's peak of allocated bytes. On a CPU: the process's peak resident set, from the
    kernel's own high-water mark (reset through ``/proc/self/clear_refs``), or where the kernel refuses that, polled
    every 2 ms; `source` says which. Memory that the process holds free is given back to the kernel first, since
    its reuse would not show.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.bytes = 0
        self.source = ""
        self._meter: _Cuda | _HighWater | _Polled | None = None

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            self._meter = _Cuda(self.device)
        else:
            _give_back_free_memory()
            self._meter = _HighWater() if _HighWater.available() else _Polled()
        self.source = self._meter.source
        return self

    def so_far(self) -> int:
        """The peak up to now, inside the block."""
        return max(0, self._meter.so_far()) if self._meter is not None else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._meter is not None:
            self.bytes = self.so_far()
            self._meter.stop()


class _Cuda:
    source = "allocator"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        self.start = torch.cuda.memory_allocated(device)

    def so_far(self) -> int:
        return torch.cuda.max_memory_allocated(self.device) - self.start

    def stop(self) -> None:
        """The allocator goes on counting."""


class _HighWater:
    source = "kernel high-water mark"

    def __init__(self) -> None:
        _reset_high_water()
        self.start = _status_bytes("VmRSS")

    @staticmethod
    def available() -> bool:
        try:
            _reset_high_water()
            return _status_bytes("VmHWM") > 0
        except (OSError, LookupError):
            return False

    def so_far(self) -> int:
        return _status_bytes("VmHWM") - self.start

    def stop(self) -> None:
        """The kernel goes on counting."""


class _Polled:
    source = "polled resident set"

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.start = self.peak = self.process.memory_info().rss
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._poll, daemon=True)
        self.thread.start()

    def _poll(self) -> None:
        while not self.done.wait(_POLL_S):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def so_far(self) -> int:
        return max(self.peak, int(self.process.memory_info().rss)) - self.start

    def stop(self) -> None:
        self.done.set()
        self.thread.join()


def _give_back_free_memory() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _reset_high_water() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/self/status has no {field}")
