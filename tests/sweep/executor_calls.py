"""Calls for the executors' tests: importable by name, since they cross to another process."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tnbench.core.errors import Diverged, NotApplicable, RankDied, UsageError


def give_pid() -> int:
    print("from python", flush=True)
    os.write(1, b"from below\n")
    print("to the error stream", file=sys.stderr)
    return os.getpid()


def raise_division() -> float:
    return 1 / 0


def raise_named(name: str) -> None:
    raise {
        "skipped": NotApplicable("no rank reaches x1000000"),
        "diverged": Diverged("epoch 2: the loss is nan"),
        "crashed": RankDied("rank 1 was ended by SIGKILL"),
        "oom": MemoryError(),
        "failed": UsageError("options: no such thing"),
    }[name]


def keep_a_semaphore() -> None:
    """As torch's elastic launcher does until it is collected."""
    global _kept
    _kept = multiprocessing.get_context("spawn").Lock()


def hang() -> None:
    time.sleep(3600)


def hang_swallowing() -> None:
    while True:
        try:
            time.sleep(3600)
        except Exception:
            print("swallowed")


def exit_at_once() -> None:
    os._exit(3)


def segfault() -> None:
    ctypes.string_at(0)


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def give_what_cannot_be_pickled() -> object:
    return lambda: None


def start_sleepers(pids: Path) -> None:
    """Two descendants, one of them in a session of its own; their ids go to `pids` in one step."""
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    started = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    whole = pids.with_suffix(".tmp")
    whole.write_text(" ".join(str(pid) for pid in (os.getpid(), *(process.pid for process in started))))
    whole.replace(pids)


def start_sleepers_and_hang(pids: Path) -> None:
    start_sleepers(pids)
    hang()


def start_sleepers_and_die(pids: Path) -> None:
    start_sleepers(pids)
    kill_self()
