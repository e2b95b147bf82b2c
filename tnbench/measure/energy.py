"""Energy that devices used during a block, from their own counters: GPUs through NVML, processors through RAPL."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_S = 30.0
"""Between two readings: a processor's counter starts again within ten minutes under the heaviest load."""

_POWERCAP = Path("/sys/class/powercap")


@dataclass
class Energy:
    """Joules of a finished block, None where no counter can be read; `source` says whose they are, or why none are."""

    joules: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Counter:
    """`read` gives joules that only rise, up to `span`, where they start from 0 again."""

    read: Callable[[], float]
    span: float = math.inf


@contextmanager
def energy_of(devices: Sequence[str], *, poll_s: float = POLL_S) -> Iterator[Energy]:
    """Measure a block on ``cuda:0``, ``cuda:1`` ... or on ``cpu``: ``with energy_of(["cpu"]) as used: ...``.

    A GPU's is that of its whole board, a processor's that of all its packages (DRAM apart), whoever used them. A
    counter that cannot be read, at whatever moment, leaves no number, and the block undisturbed.
    """
    counters, source = _nvml(devices) if devices[0].startswith("cuda") else rapl(_POWERCAP)
    used = Energy(source=source)
    if not counters:
        yield used
        return
    total, done = _Total(counters), threading.Event()
    poller = threading.Thread(target=_poll, args=(total, done, poll_s), daemon=True)
    poller.start()
    try:
        yield used
    finally:
        done.set()
        poller.join()
        total.add()
        used.joules = total.joules


class _Total:
    """What counters have counted since the start; None once one could not be read."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._last = _read(counters)
        self.joules: float | None = None if self._last is None else 0.0

    def add(self) -> None:
        now = _read(self._counters)
        if now is None or self._last is None or self.joules is None:
            self.joules = None
            return
        for counter, last, new in zip(self._counters, self._last, now, strict=True):
            self.joules += new - last if new >= last else counter.span - last + new
        self._last = now


def _read(counters: Sequence[Counter]) -> list[float] | None:
    try:
        return [counter.read() for counter in counters]
    except Exception:  # NVML's own error, or the file's: either leaves a gap in the count
        return None


def _poll(total: _Total, done: threading.Event, poll_s: float) -> None:
    while not done.wait(poll_s):
        total.add()


def rapl(folder: Path) -> tuple[list[Counter], str]:
    """One counter per processor package below `folder`, and the source in words; none unless all can be read."""
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        counters = [_package(zone) for zone in packages]
    except PermissionError:
        return [], f"none: {folder}/intel-rapl:*/energy_uj may not be read by this user"
    except (OSError, ValueError) as error:
        return [], f"none: {error}"
    if not counters:
        return [], f"none: {folder} has no intel-rapl package"
    return counters, f"RAPL: {len(counters)} x processor package, whatever ran on it"


def _package(zone: Path) -> Counter:
    def read() -> float:
        return int((zone / "energy_uj").read_text()) / 1e6

    read()
    return Counter(read, int((zone / "max_energy_range_uj").read_text()) / 1e6)


def _nvml(devices: Sequence[str]) -> tuple[list[Counter], str]:
    try:
        import pynvml
    except ImportError:
        return [], "none: nvidia-ml-py is not installed (pip install nvidia-ml-py)"
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByUUID(_uuid(device)) for device in devices]
        counters = [_board(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]
    except pynvml.NVMLError as error:
        return [], f"none: NVML says {error}"
    return counters, f"NVML: {len(counters)} x GPU board"


def _board(millijoules: Callable[[object], int], handle: object) -> Counter:
    millijoules(handle)
    return Counter(lambda: millijoules(handle) / 1e3)


def _uuid(device: str) -> str:
    """NVML counts boards otherwise than CUDA does, so a board is named by what both know."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
