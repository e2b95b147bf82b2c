import os
import re
import signal
import tempfile
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from tnbench.core.errors import Diverged, RankDied
from tnbench.distributed.launch import _cause, launch_ranks
from tnbench.distributed.rank import Assignment, _portable, put, run_rank
from tnbench.testing.parallel import nothing_left_behind

HOURS = 7200.0


def launch(entry):
    return launch_ranks(entry, 2, threads=1, device="cpu", plugin_files=(), backend="gloo")


def killed_during_collectives(crew):
    for step in range(10**6):
        dist.all_reduce(torch.ones(3))
        if (step, crew.rank) == (5, 1):
            os.kill(os.getpid(), signal.SIGKILL)


def killed_while_the_other_hangs(crew):
    crew.barrier()
    if crew.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(HOURS)


def diverging(crew, *, text):
    if crew.rank == 1:
        raise Diverged(text)
    time.sleep(HOURS)


@pytest.mark.parametrize(("entry", "rank"), [(killed_during_collectives, 1), (killed_while_the_other_hangs, 0)])
def test_a_killed_rank_is_named_and_the_other_one_is_ended(entry, rank):
    with (
        nothing_left_behind(),
        pytest.raises(RankDied, match=rf"rank {rank} of 2 ended by itself \(Signal 9 \(SIGKILL\) received by PID"),
    ):
        launch(entry)


def test_an_exception_arrives_as_it_was_with_its_rank_and_traceback(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with nothing_left_behind(), pytest.raises(Diverged) as caught:
        launch(partial(diverging, text="the loss is nan"))
    assert str(caught.value) == "the loss is nan"
    (note,) = caught.value.__notes__
    assert note.startswith("rank 1 of 2 raised:\nTraceback")
    assert "in diverging" in note
    assert note in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def assignment(tmp_path):
    return Assignment(tmp_path, "gloo", "cpu", 1, (), os.getppid())


def failure(rank, exitcode):
    return ChildFailedError("run_rank", {rank: ProcessFailure(rank, 4711, exitcode, "")})


def test_of_several_exceptions_the_first_is_the_cause(assignment):
    put(assignment.error(0), (2, RuntimeError("Connection closed by peer")))
    put(assignment.error(1), (1, ValueError("the cause")))
    assert repr(_cause(failure(0, 1), assignment, 2)) == "ValueError('the cause')"


def test_a_rank_that_died_goes_before_the_exception_that_this_caused(assignment):
    put(assignment.error(0), (1, RuntimeError("Connection closed by peer")))
    assert re.search("rank 1 of 2.*SIGKILL", str(_cause(failure(1, -9), assignment, 2)))


def test_an_exit_code_is_told(assignment):
    cause = _cause(failure(1, 3), assignment, 2)
    assert isinstance(cause, RankDied)
    assert "rank 1 of 2 ended by itself (exit code 3)" in str(cause)


@pytest.fixture
def interrupt_handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_rank_whose_launcher_is_gone_does_not_begin(assignment, interrupt_handler):
    with pytest.raises(SystemExit, match="the launcher is gone"):
        run_rank(replace(assignment, launcher=-1))


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def test_an_exception_that_cannot_cross_keeps_its_name_text_and_notes():
    error = Unpicklable(1, 2)
    error.add_note("rank 1 of 2")
    portable = _portable(error)
    assert (type(portable), str(portable)) == (RuntimeError, "Unpicklable: 1 and 2")
    assert portable.__notes__ == ["rank 1 of 2"]
