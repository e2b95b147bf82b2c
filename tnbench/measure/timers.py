"""Timers to hand to another harness, which reads one before and one after each call and takes the difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tnbench.core.errors import UsageError

Timer = Callable[[], float]


def waiting_timer(device: str) -> Timer:
    """The performance counter, in seconds, read once `device` has done all that was asked of it."""
    from tnbench.measure.clock import synchronise

    def waiting() -> float:
        synchronise(device)
        return time.perf_counter()

    return waiting


def recorded_timer(seconds: Sequence[float]) -> Timer:
    """A timer by which the calls take `seconds`, one after the other and to the bit, whatever they really take.

    The list may be filled until the first call. Reading on after the last raises UsageError.
    """
    readings = (reading for sample in seconds for reading in (0.0, sample))

    def recorded() -> float:
        reading = next(readings, None)
        if reading is None:
            raise UsageError(f"{len(seconds)} samples are recorded, and one more was asked for; time no other calls")
        return reading

    return recorded
