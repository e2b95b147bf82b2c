"""Every case of a suite under pytest-benchmark; see docs/pytest-benchmark.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # asv imports this folder's modules too, and needs no pytest
    from tnbench.pytest_plugin import TimedCase


def test_case(tnbench_case: TimedCase, tnbench_timing: str, benchmark: Any) -> None:
    tnbench_case.time(benchmark, tnbench_timing)
