"""Cases in a long-lived worker process with a hard time limit: a case that crashes or hangs costs the worker only."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

from tnbench.sweep.executors.family import end_family
from tnbench.sweep.executors.result import Result
from tnbench.sweep.executors.worker import TAKEN, serve

_LOOK_EVERY_S = 1.0


class _Worker(NamedTuple):
    process: SpawnProcess
    calls: Connection


class LocalExecutor:
    """Runs calls in one spawned worker, started when it is needed and anew after a crash or a time limit.

    Calls cross by pickle, so they are functions that a module has by name (or partials of such).
    """

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def execute(self, call: Callable[[], Any], *, log: Path, timeout_s: float) -> Result:
        """As `Executor` says; the limit includes the worker's start, and ends all that the call started."""
        payload, deadline = pickle.dumps(call), time.monotonic() + timeout_s
        taken, result = self._try(payload, log, timeout_s, deadline)
        if not taken and result.status == "crashed":  # killed between two calls, which is no fault of this one
            _, result = self._try(payload, log, timeout_s, deadline)
        return result

    def _try(self, payload: bytes, log: Path, timeout_s: float, deadline: float) -> tuple[bool, Result]:
        """Whether the worker took the call before it ended or answered, and the result."""
        worker, taken = self._living_worker(), False
        try:
            worker.calls.send((payload, log))
            if _answered(worker, deadline):
                taken = worker.calls.recv_bytes() == TAKEN
                if _answered(worker, deadline):
                    return taken, _received(worker)
            if worker.process.is_alive():
                self._end()
                return taken, Result("timeout", f"ended after {timeout_s:g} s")
        except (EOFError, OSError):
            pass  # the worker died while it was talked to
        except BaseException:
            self._end()
            raise
        worker.process.join(_LOOK_EVERY_S)
        reason = _cause_of_death(worker.process.exitcode)
        self._end()
        return taken, Result("crashed", reason)

    def close(self) -> None:
        """End the worker and whatever it left running. A later call starts a new one."""
        if self._worker is not None:
            self._worker.calls.close()  # upon which it ends by itself, and clears away semaphores and the like
            self._worker.process.join(_LOOK_EVERY_S)
        self._end()

    def _living_worker(self) -> _Worker:
        if self._worker is not None and not self._worker.process.is_alive():
            self._end()
        if self._worker is None:
            self._worker = _start()
            atexit.register(self.close)  # before multiprocessing's own, which would wait for the worker for ever
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None or worker.process.pid is None:
            return
        end_family(worker.process.pid)
        worker.process.kill()  # which may not have founded its family yet
        worker.calls.close()
        worker.process.join()
        worker.process.close()
        atexit.unregister(self.close)


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), name="tnbench-worker", daemon=False)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _answered(worker: _Worker, deadline: float) -> bool:
    """Wait until the worker sends something; False when the deadline passes or it is dead.

    Death is looked for as well as waited for: a descendant may hold the pipe's other end open.
    """
    while worker.process.is_alive():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if worker.calls.poll(min(left, _LOOK_EVERY_S)):
            return True
    return worker.calls.poll()


def _received(worker: _Worker) -> Result:
    result: Result = pickle.loads(worker.calls.recv_bytes())
    return result


def _cause_of_death(code: int | None) -> str:
    if code is None:
        return "the worker process closed its connection"
    if code >= 0:
        return f"the worker process ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", from outside or by the kernel for want of memory" if name == "SIGKILL" else ""
    return f"the worker process was ended by {name}{hint}"
