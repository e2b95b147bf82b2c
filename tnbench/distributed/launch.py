"""Launching the ranks of a parallel case by torch's elastic agent, without a port that the network can reach."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tnbench.core.errors import RankDied
from tnbench.core.protocols import RankEntry
from tnbench.distributed.loopback import environment, variables
from tnbench.distributed.rank import Assignment, put, run_rank, take

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def launch_ranks(
    entry: RankEntry, world: int, *, threads: int, device: str, plugin_files: Sequence[Path], backend: str
) -> list[Any]:
    """Call `entry` in `world` new processes that form a process group; what each returned, rank 0 first.

    `entry` must be picklable: a function of a module, or a `functools.partial` of one. Each rank has `threads` threads
    and, where `device` is ``cuda``, a GPU of its own. The crew's `wrap` leaves models as they are. Tensors come back on
    the CPU. A few seconds pass before the entries start, since each process imports torch.

    Raises what the first rank to fail raised, with its traceback as a note, or RankDied when a rank ended by itself.
    Then, and on a signal, the other ranks are ended at once.

    >>> launch_ranks(entry, 2, threads=1, device="cpu", plugin_files=(), backend="gloo")  # doctest: +SKIP
    [<what rank 0 returned>, <what rank 1 returned>]
    """
    try:
        with tempfile.TemporaryDirectory(prefix="tnbench-ranks-") as folder:
            assignment = Assignment(Path(folder), backend, device, threads, tuple(plugin_files), os.getpid())
            put(assignment.entry, entry)
            _run_all(assignment, world)
            return [_result(assignment, rank, world) for rank in range(world)]
    except SignalException as stop:
        signal.raise_signal(stop.sigval)  # the caller's own handlers are back, and theirs is the say
        raise


def _run_all(assignment: Assignment, world: int) -> None:
    with environment(variables(assignment.threads)), _signal_handlers_kept():
        try:
            elastic_launch(_config(assignment.folder, world), run_rank)(assignment)
        except ChildFailedError as failed:
            raise _cause(failed, assignment, world) from None


def _config(folder: Path, world: int) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "elastic")),
    )


def _result(assignment: Assignment, rank: int, world: int) -> Any:
    if not assignment.result(rank).exists():
        raise RankDied(f"rank {rank} of {world} left with exit code 0 before its work was done; see what it called")
    return take(assignment.result(rank))


def _cause(failed: ChildFailedError, assignment: Assignment, world: int) -> Exception:
    """The exception that stands for the failure: of the ranks that raised, the one that did so first."""
    rank, failure = failed.get_first_failure()
    if not assignment.error(rank).exists():
        how = failure.message if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        return RankDied(
            f"rank {rank} of {world} ended by itself ({how}) and the other ranks were ended; the log has what it "
            f"printed last; if the machine ran out of memory, use fewer ranks or a smaller batch"
        )
    raised = [take(file) for file in map(assignment.error, range(world)) if file.exists()]
    error: Exception = min(raised, key=lambda stamped: stamped[0])[1]
    return error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Put back the handlers that the agent replaces, which it does in the main thread only."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
