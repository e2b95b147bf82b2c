"""Ranks do not outlive the process that launched them."""

import multiprocessing
import os
import signal
import time
from functools import partial

import psutil
import pytest
from torch.distributed.elastic.multiprocessing import SignalException

from tnbench.distributed import launch

HOURS = 7200.0
PATIENCE_S = 60.0


def hang(crew, *, folder):
    (folder / str(crew.rank)).write_text(str(os.getpid()))
    time.sleep(HOURS)


def work(folder):
    launch.launch_ranks(partial(hang, folder=folder), 2, threads=1, device="cpu", plugin_files=(), backend="gloo")


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S:g} s in vain"
        time.sleep(0.05)


def texts(folder):
    return [file.read_text() for file in folder.iterdir()]


def test_a_worker_launches_ranks_and_takes_them_along_when_it_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a worker that is killed leaves its files
    started = tmp_path / "started"
    started.mkdir()
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(started,))
    worker.start()
    try:
        wait_for(lambda: len(texts(started)) == 2 and all(texts(started)))
        pids = [int(text) for text in texts(started)]
        assert all(psutil.pid_exists(pid) for pid in pids)
        worker.kill()
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    finally:
        worker.kill()
        worker.join()


def test_a_signal_is_left_to_the_callers_own_handler(monkeypatch):
    def interrupted(assignment, world):
        raise SignalException("told to stop", signal.SIGTERM)

    told = []
    monkeypatch.setattr(launch, "_run_all", interrupted)
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with pytest.raises(SignalException):
            work(None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]
