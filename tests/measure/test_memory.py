from __future__ import annotations

import time

import pytest
import torch

from tnbench.measure import memory
from tnbench.measure.memory import PeakMemory

MEGABYTE = 2**20


def peak_of(megabytes: int) -> int:
    with PeakMemory("cpu") as peak:
        held = torch.ones(megabytes * MEGABYTE // 4)
        del held
    return peak.bytes


def test_a_small_stage_after_a_large_one_reads_small() -> None:
    large, small = peak_of(200), peak_of(10)
    assert large >= 150 * MEGABYTE
    assert small < 60 * MEGABYTE


def test_memory_that_is_used_again_counts_again() -> None:
    pieces = [torch.ones(25_000) for _ in range(1000)]  # small enough to come from the heap, not from the kernel
    del pieces
    with PeakMemory("cpu") as peak:
        pieces = [torch.ones(25_000) for _ in range(1000)]
    assert peak.bytes >= 80 * MEGABYTE
    del pieces


def test_without_the_kernels_mark_memory_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory._HighWater, "available", staticmethod(lambda: False))
    with PeakMemory("cpu") as peak:
        held = torch.ones(100 * MEGABYTE // 4)
        time.sleep(0.2)
        del held
    assert peak.source == "polled resident set"
    assert peak.bytes >= 80 * MEGABYTE
