"""Ending a worker with everything that it started, wherever its descendants went."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

MARK = "TNBENCH_WORKER"
"""Environment variable that a worker sets to its process id, so that orphans of a dead worker can be told."""


def found_family() -> None:
    """Make this process the head of a session of its own, which its descendants belong to and are marked by."""
    os.setsid()
    os.environ[MARK] = str(os.getpid())


def end_family(head: int) -> None:
    """Kill the descendants of the worker `head` and at last itself, whether it still runs or not."""
    for process in (*_children(head), *_marked(head)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with suppress(ProcessLookupError):
        os.killpg(head, signal.SIGKILL)


def _children(head: int) -> list[psutil.Process]:
    try:
        return psutil.Process(head).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _marked(head: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != head and process.environ().get(MARK) == str(head):
                yield process
