"""Wall clocks that wait for the device."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


def synchronise(device: torch.device | str) -> None:
    """Wait until everything asked of `device` is done (nothing to wait for on a CPU)."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Elapsed:
    """Seconds between the start and the end of a `stopwatch` block."""

    seconds: float = 0.0


@contextmanager
def stopwatch(device: torch.device | str) -> Iterator[Elapsed]:
    """Time a block of work on `device`, waiting for the device at both ends."""
    elapsed = Elapsed()
    synchronise(device)
    start = time.perf_counter()
    try:
        yield elapsed
    finally:
        synchronise(device)
        elapsed.seconds = time.perf_counter() - start


def time_calls(
    call: Callable[[], object], *, device: torch.device | str, warmup: int, samples: int, least_s: float = 0.0
) -> list[float]:
    """Seconds of each of `samples` calls after `warmup` calls that do not count.

    Where all samples together take less than `least_s`, more are taken until they do (at most 100 times as many):
    a very short call needs many samples for a steady median. On a GPU the events of its own clock are read.
    """
    for _ in range(warmup):
        call()
    synchronise(device)
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):  # whose stream the events are recorded on
            return _sampled(_cuda_seconds, call, samples, least_s)
    return _sampled(_wall_seconds, call, samples, least_s)


def _sampled(
    timed: Callable[[Callable[[], object]], float], call: Callable[[], object], samples: int, least_s: float
) -> list[float]:
    seconds = [timed(call) for _ in range(samples)]
    while sum(seconds) < least_s and len(seconds) < 100 * samples:
        seconds.append(timed(call))
    return seconds


def _wall_seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _cuda_seconds(call: Callable[[], object]) -> float:
    start, end = torch.Event("cuda", enable_timing=True), torch.Event("cuda", enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


class Laps:
    """The seconds of consecutive pieces of work on `device`, the first of which starts now, once the device is idle.

    A lap makes nobody wait: a GPU notes the moment by an event of its own, in the order of its work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self.total = device, 0.0
        synchronise(device)
        self._start = time.perf_counter()
        self._marks = [self._mark()]

    def lap(self) -> None:
        """A piece of work has been asked for."""
        self._marks.append(self._mark())

    def end(self) -> list[float]:
        """The last one has too: the seconds of each. `total` is then those of all, by the clock of the host."""
        self.lap()
        synchronise(self._device)
        self.total = time.perf_counter() - self._start
        return [_between(first, second) for first, second in itertools.pairwise(self._marks)]

    def _mark(self) -> float | torch.Event:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.Event("cuda", enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


def _between(first: float | torch.Event, second: float | torch.Event) -> float:
    if isinstance(first, torch.Event) and isinstance(second, torch.Event):
        return float(first.elapsed_time(second)) / 1e3
    return float(second) - float(first)  # type: ignore[arg-type]
