"""Ending one of two ranks with SIGKILL, as the kernel does when memory runs out: the suite survives it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tnbench.store.records import Store

KILLED = "dense/full/cnn8/digits/scratch/ddp:2#0"
NEXT = "dense/full/cnn8/digits/none/threads:1#0"


def at_work(process: psutil.Process) -> bool:
    """Whether it is one of Python's spawned processes, and beyond its imports."""
    try:
        return "spawn_main" in " ".join(process.cmdline()) and process.cpu_times().user > 2
    except psutil.Error:
        return False


def a_rank_below(main: psutil.Process) -> psutil.Process:
    """One of the two processes that the worker has started, once both are at work."""
    for _ in range(600):
        ranks = [
            process for worker in main.children() for process in worker.children(recursive=True) if at_work(process)
        ]
        if len(ranks) == 2:
            return ranks[1]
        time.sleep(0.1)
    pytest.fail("no two ranks were at work within a minute")


@pytest.mark.slow
def test_a_killed_rank_is_a_crashed_record_and_the_suite_goes_on(tmp_path: Path) -> None:
    words = ["run", "--case", KILLED, "--case", NEXT, "--epochs", "1000", "--limit-train", "64", "--batch-size", "8"]
    words += ["--baseline-epochs", "1", "--device", "cpu"]
    main = [sys.executable, "-c", "from tnbench.cli import main; main()"]
    with subprocess.Popen([*main, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        parent = psutil.Process(running.pid)
        rank = a_rank_below(parent)
        family = parent.children(recursive=True)
        rank.send_signal(signal.SIGKILL)
        running.communicate()
    records = {record.case: record for record in Store(tmp_path / "results").records()}
    assert records[KILLED].status == "crashed"
    assert re.match(r"rank [01] of 2 ended by itself \(Signal 9 \(SIGKILL\)", records[KILLED].reason)
    assert records[NEXT].status == "ok"
    assert running.returncode == 1
    assert psutil.wait_procs(family, timeout=10)[1] == []
