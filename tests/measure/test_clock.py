from __future__ import annotations

import time

import pytest

from tnbench.measure.clock import stopwatch, time_calls


def test_warm_up_calls_do_not_count() -> None:
    calls = []
    seconds = time_calls(lambda: calls.append(1), device="cpu", warmup=3, samples=5)
    assert len(seconds) == 5
    assert len(calls) == 8
    assert all(value > 0 for value in seconds)


def test_short_calls_are_sampled_more_often() -> None:
    seconds = time_calls(lambda: None, device="cpu", warmup=0, samples=2, least_s=0.01)
    assert len(seconds) == 200


def test_a_stopwatch_counts_its_block_alone_and_survives_errors() -> None:
    def fail_late() -> None:
        time.sleep(0.02)
        raise KeyError

    with pytest.raises(KeyError), stopwatch("cpu") as elapsed:
        fail_late()
    assert elapsed.seconds >= 0.02
