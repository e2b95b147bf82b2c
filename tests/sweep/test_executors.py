"""Both executors under the same calls; only the local one survives what ends a process."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import executor_calls as calls
import psutil
import pytest

from tnbench.core.errors import UsageError
from tnbench.sweep.executors import local
from tnbench.sweep.executors.inline import InlineExecutor
from tnbench.sweep.executors.local import LocalExecutor

LONG = 120.0


@pytest.fixture(scope="module")
def worker():
    executor = LocalExecutor()
    yield executor
    executor.close()


@pytest.fixture(params=["local", "inline"])
def executor(request, worker):
    return worker if request.param == "local" else InlineExecutor()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "logs" / "case.log"


def gone(pids):
    """Whether none of `pids` runs any more; waits a little, since killed processes need a moment to go."""
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def read_pids(file):
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} was never written"
        time.sleep(0.05)
    return [int(pid) for pid in file.read_text().split()]


def test_value_comes_back_and_prints_go_to_the_log(executor, log):
    result = executor.execute(calls.give_pid, log=log, timeout_s=LONG)
    assert (result.status, result.reason) == ("ok", "")
    assert (result.value == os.getpid()) == isinstance(executor, InlineExecutor)
    assert log.read_text().splitlines() == ["from python", "from below", "to the error stream"]


def test_exception_becomes_failed_with_type_and_last_frame(executor, log):
    result = executor.execute(calls.raise_division, log=log, timeout_s=LONG)
    assert result.status == "failed"
    assert result.reason.startswith("ZeroDivisionError: division by zero (executor_calls.py:")
    assert result.reason.endswith(" in raise_division)")
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("status", ["skipped", "diverged", "crashed", "oom", "failed"])
def test_own_errors_become_statuses(executor, log, status):
    result = executor.execute(partial(calls.raise_named, status), log=log, timeout_s=LONG)
    assert result.status == status
    if status != "oom":
        assert result.reason in log.read_text()


@pytest.mark.parametrize("error", ["torch", "allocator"])
def test_torch_out_of_memory_is_oom(log, error):
    class OutOfMemoryError(RuntimeError):
        pass

    def call():
        raise {"torch": OutOfMemoryError("CUDA"), "allocator": RuntimeError("DefaultCPUAllocator: no")}[error]

    assert InlineExecutor().execute(call, log=log, timeout_s=LONG).status == "oom"


def test_worker_is_reused_and_replaced_after_a_crash(worker, log):
    def pid():
        return worker.execute(calls.give_pid, log=log, timeout_s=LONG).value

    first = pid()
    assert pid() == first
    assert worker.execute(calls.kill_self, log=log, timeout_s=LONG).status == "crashed"
    assert pid() != first


def test_worker_killed_between_calls_costs_no_call(worker, log):
    first = worker.execute(calls.give_pid, log=log, timeout_s=LONG).value
    os.kill(first, signal.SIGKILL)
    worker._worker.process.join()
    second = worker.execute(calls.give_pid, log=log, timeout_s=LONG)
    assert second.status == "ok"
    assert second.value != first


def test_worker_found_dead_only_when_the_call_is_sent_costs_no_call(log):
    executor = LocalExecutor()
    first = executor.execute(calls.give_pid, log=log, timeout_s=LONG).value
    process = executor._worker.process
    os.kill(first, signal.SIGKILL)
    process.join()
    looks, is_alive = iter([True]), process.is_alive
    process.is_alive = lambda: next(looks, False) or is_alive()
    second = executor.execute(calls.give_pid, log=log, timeout_s=LONG)
    executor.close()
    assert (second.status, next(looks, None)) == ("ok", None)
    assert second.value != first


def test_worker_that_dies_again_before_it_takes_the_call_is_crashed(log, monkeypatch):
    starts = []
    start = local._start

    def start_dead():
        worker = start()
        starts.append(worker)
        worker.process.kill()
        return worker

    monkeypatch.setattr(local, "_start", start_dead)
    assert LocalExecutor().execute(calls.give_pid, log=log, timeout_s=LONG).status == "crashed"
    assert len(starts) == 2


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (calls.exit_at_once, "exit code 3"),
        (calls.segfault, "SIGSEGV"),
        (calls.kill_self, "SIGKILL, from outside or by the kernel for want of memory"),
    ],
)
def test_death_becomes_crashed_with_its_cause(worker, log, call, reason):
    result = worker.execute(call, log=log, timeout_s=LONG)
    assert result.status == "crashed"
    assert reason in result.reason
    if call is calls.segfault:
        assert "Segmentation fault" in log.read_text()


def test_hang_is_ended_with_its_descendants(worker, log, tmp_path):
    pids = tmp_path / "pids"
    worker.execute(calls.give_pid, log=log, timeout_s=LONG)
    result = worker.execute(partial(calls.start_sleepers_and_hang, pids), log=log, timeout_s=2)
    assert (result.status, result.reason) == ("timeout", "ended after 2 s")
    assert gone(read_pids(pids))


def test_descendants_of_a_dead_worker_are_ended(worker, log, tmp_path):
    pids = tmp_path / "pids"
    assert worker.execute(partial(calls.start_sleepers_and_die, pids), log=log, timeout_s=LONG).status == "crashed"
    assert gone(read_pids(pids))


def test_close_ends_the_worker_and_what_it_left(log, tmp_path):
    executor = LocalExecutor()
    pids = tmp_path / "pids"
    assert executor.execute(partial(calls.start_sleepers, pids), log=log, timeout_s=LONG).status == "ok"
    executor.close()
    executor.close()
    assert gone(read_pids(pids))


@pytest.mark.parametrize("closing", ["executor.close()", ""])
def test_semaphores_of_a_worker_are_not_left_to_the_resource_tracker(tmp_path, closing):
    program, log = tmp_path / "program.py", str(tmp_path / "log")
    program.write_text(
        "import executor_calls as calls\nfrom pathlib import Path\n"
        "from tnbench.sweep.executors.local import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor()\n"
        f"    result = executor.execute(calls.keep_a_semaphore, log=Path({log!r}), timeout_s={LONG})\n"
        f"    print(result.status)\n    {closing}\n"
    )
    here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": here}
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_what_cannot_be_sent_back_is_failed(worker, log):
    result = worker.execute(calls.give_what_cannot_be_pickled, log=log, timeout_s=LONG)
    assert result.status == "failed"
    assert "pickle" in result.reason


def test_interrupt_ends_the_worker_and_goes_on_up(log, tmp_path):
    executor, pids = LocalExecutor(), tmp_path / "pids"

    def interrupt():
        read_pids(pids)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        executor.execute(partial(calls.start_sleepers_and_hang, pids), log=log, timeout_s=LONG)
    assert gone(read_pids(pids))


@pytest.mark.parametrize("parent_dies", ["killed", "forgets to close"])
def test_nothing_outlives_the_parent(tmp_path, parent_dies):
    pids = tmp_path / "pids"
    call = "start_sleepers_and_hang" if parent_dies == "killed" else "start_sleepers"
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(calls.__file__).parent)!r})\n"
        "import executor_calls as calls\n"
        "from tnbench.sweep.executors.local import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        f"    call = partial(calls.{call}, Path({str(pids)!r}))\n"
        f"    LocalExecutor().execute(call, log=Path({str(tmp_path / 'a.log')!r}), timeout_s=600)\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as parent:
        started = read_pids(pids)
        if parent_dies == "killed":
            parent.kill()
        assert parent.wait(60) == (-signal.SIGKILL if parent_dies == "killed" else 0)
    assert gone(started)


def test_inline_time_limit_passes_through_except_exception(log):
    result = InlineExecutor().execute(calls.hang_swallowing, log=log, timeout_s=0.2)
    assert (result.status, result.reason) == ("timeout", "ended after 0.2 s")
    assert "swallowed" not in log.read_text()


def test_inline_leaves_streams_and_alarm_as_they_were(log, capfd):
    before = signal.getsignal(signal.SIGALRM)
    InlineExecutor().execute(calls.raise_division, log=log, timeout_s=LONG)
    print("after")
    os.write(1, b"below\n")
    assert signal.getsignal(signal.SIGALRM) is before
    assert capfd.readouterr().out == "after\nbelow\n"


def test_inline_refuses_threads_where_it_cannot_keep_the_limit(log):
    caught = []

    def run():
        try:
            InlineExecutor().execute(calls.give_pid, log=log, timeout_s=LONG)
        except UsageError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == ["executor inline: its time limit needs the main thread; use the executor local elsewhere"]
