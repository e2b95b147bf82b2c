"""The console script as a process: pipes, files and interrupts."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tnbench.store.records import Store

TNBENCH = (sys.executable, "-c", "from tnbench.cli import main; main()")

SLEEPS = '''"""Sleeps."""
KIND = "training"
VERSION = 1
import time


def needs_baseline(options):
    return False


def run(tools, options):
    time.sleep(600)
'''


def on_a_terminal(folder: Path, *arguments: str) -> str:
    """What the program writes on a terminal, escape codes included."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([*TNBENCH, *arguments], cwd=folder, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:
            pass  # how Linux tells that the other end is closed
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


@pytest.mark.slow
def test_on_a_terminal_a_bar_is_drawn_even_when_cases_run_in_this_process(tmp_path: Path) -> None:
    case = "dense/full/cnn8/digits/none/single#0"
    limits = ("--limit-train", "256", "--baseline-epochs", "1")
    written = on_a_terminal(tmp_path, "run", "--executor", "inline", "--case", case, *limits)
    assert "1/2" in written
    assert "\x1b[" in written
    logs = list((tmp_path / "results/logs").iterdir())
    assert logs
    assert not any("\x1b" in log.read_text() for log in logs)


@pytest.mark.parametrize("arguments", [("list",), ("list", "ranks", "--json"), ("export", "csv"), ("--help",)])
@pytest.mark.usefixtures("stored")
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [*TNBENCH, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    command = [*TNBENCH, "run", "--plugin", "sleeps.py"]
    for training in ("none", "sleeps"):
        command += ["--case", f"dense/full/cnn8/digits/{training}/single#0"]
    command += ["--limit-train", "256", "--baseline-epochs", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes) as process:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("[") and "/sleeps/" in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # the worker gets it too, as on a terminal
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "\x1b" not in "".join(seen) + rest
    records = Store(tmp_path / "results").records()
    assert ("dense/full/cnn8/digits/none/single#0", "ok") in {(record.case, record.status) for record in records}
