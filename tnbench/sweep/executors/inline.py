"""The in-process twin of the local executor: for debugging, and where no process may be started.

A call that ends the process ends the run. The time limit is an alarm, so it ends Python code but not a call that is
stuck inside a library, and it needs the main thread.
"""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tnbench.core.errors import UsageError
from tnbench.sweep.executors.logs import captured
from tnbench.sweep.executors.result import Result, outcome_of


class _TimeIsUp(BaseException):
    """Passes through a plug-in's ``except Exception``."""


class InlineExecutor:
    """Runs calls in this process, one after the other."""

    def execute(self, call: Callable[[], Any], *, log: Path, timeout_s: float) -> Result:
        """As `Executor` says. Raises UsageError outside the main thread, where the time limit cannot be kept."""
        try:
            with captured(log), _alarm(timeout_s):
                return outcome_of(call)
        except _TimeIsUp:
            return Result("timeout", f"ended after {timeout_s:g} s")

    def close(self) -> None:
        """There is nothing to give back."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("executor inline: its time limit needs the main thread; use the executor local elsewhere")

    def ring(number: int, frame: types.FrameType | None) -> None:
        raise _TimeIsUp

    handler = signal.signal(signal.SIGALRM, ring)
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest, interval)
        signal.signal(signal.SIGALRM, handler)
