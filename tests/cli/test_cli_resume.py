"""A run that is killed outright in the middle of a training: the same command goes on, and to the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tnbench.core.record import Record
from tnbench.store.records import Store

CASE = "svd/x4/lenet8/digits/scratch/single#0"
SETTINGS = ["--epochs", "60", "--batch-size", "8", "--baseline-lr", "0.01", "--limit-train", "256", "--device", "cpu"]
WORDS = ["run", "--case", CASE, *SETTINGS, "--checkpoint-every", "0"]
MAIN = [sys.executable, "-c", "from tnbench.cli import main; main()", *WORDS]


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(MAIN, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def record_in(folder: Path) -> Record:
    (record,) = Store(folder / "results").records()
    return record


def kill_in_training(folder: Path) -> None:
    """End the run and its worker with SIGKILL once a checkpoint is there."""
    with started(folder) as running:
        family = [psutil.Process(running.pid)]
        for _ in range(1200):
            if list((folder / "results" / "resume").glob("*.pt")):
                break
            time.sleep(0.05)
        else:
            pytest.fail("no checkpoint within a minute")
        family += family[0].children(recursive=True)
        for process in family:
            process.send_signal(signal.SIGKILL)
        running.wait()
        assert psutil.wait_procs(family[1:], timeout=10)[1] == []


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir(), whole.mkdir()
    kill_in_training(killed)
    assert not list(Store(killed / "results").records())
    for folder in (killed, whole):
        with started(folder) as running:
            running.wait()
    resumed, undisturbed = record_in(killed), record_in(whole)
    assert (resumed.status, resumed.key) == ("ok", undisturbed.key)
    assert resumed.samples["loss"] == undisturbed.samples["loss"]
    assert resumed.metrics["top1"] == undisturbed.metrics["top1"]
    assert resumed.metrics["test_nll"] == undisturbed.metrics["test_nll"]
    assert len(resumed.samples["epoch_s"]) == 60
    (note,) = [note for note in resumed.notes if "resumed" in note]
    assert note.startswith("a training was resumed after epoch ")
    assert not any("resumed" in note for note in undisturbed.notes)
    assert (resumed.provenance.get("resumed"), undisturbed.provenance.get("resumed")) == (True, None)
    assert not list((killed / "results" / "resume").iterdir())
