"""Timers for other harnesses: one waits for the device, one replays."""

from __future__ import annotations

import pytest
import torch

from tnbench.core.errors import UsageError
from tnbench.measure import clock
from tnbench.measure.timers import recorded_timer, waiting_timer


def test_a_recorded_timer_gives_the_samples_to_the_bit() -> None:
    samples = [0.1, 1e-9, 3.0000000000000004, 0.1 + 0.2]
    timer = recorded_timer(samples)
    starts_and_ends = [(timer(), timer()) for _ in samples]
    assert [end - start for start, end in starts_and_ends] == samples


def test_its_samples_may_come_after_it_was_made() -> None:
    samples: list[float] = []
    timer = recorded_timer(samples)
    samples.append(0.25)
    start = timer()
    assert timer() - start == 0.25


def test_reading_on_is_refused() -> None:
    timer = recorded_timer([0.5])
    timer(), timer()
    with pytest.raises(UsageError, match="1 samples are recorded, and one more was asked for"):
        timer()


def test_a_waiting_timer_waits_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(clock, "synchronise", lambda device: done.append(f"waited for {device}"))
    monkeypatch.setattr("time.perf_counter", lambda: done.append("read") or 1.5)  # type: ignore[func-returns-value]
    assert waiting_timer("cuda:1")() == 1.5
    assert done == ["waited for cuda:1", "read"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_the_work_asked_for_is_in_the_time() -> None:
    timer, matrix = waiting_timer("cuda"), torch.rand(4096, 4096, device="cuda")
    events = torch.Event("cuda", enable_timing=True), torch.Event("cuda", enable_timing=True)
    matrix @ matrix
    start = timer()
    events[0].record()
    for _ in range(20):
        matrix @ matrix
    events[1].record()
    took = timer() - start
    assert took >= events[0].elapsed_time(events[1]) / 1e3
