"""Ranks that stay: processes that form a group once and then run one entry after another."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import time
import traceback
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist

from tnbench.core.errors import RankDied
from tnbench.core.protocols import Crew, RankEntry
from tnbench.distributed.collectives import barrier
from tnbench.distributed.crew import unchanged
from tnbench.distributed.loopback import environment, variables

_GRACE_S = 2.0


class RankPool:
    """`world` processes with `threads` each that share a gloo group, for as long as a ``with`` block lasts.

    Starting ranks takes seconds, and a call of an entry in ranks that stay takes milliseconds: for tests, benchmarks
    and calibrations. A case is launched anew each time instead (`launch_ranks`), since what one leaves behind in a
    process is part of the next one's time.

    >>> with RankPool(2) as pool:  # doctest: +SKIP
    ...     pool.run(entry)
    [<what rank 0 returned>, <what rank 1 returned>]
    """

    def __init__(self, world: int, *, threads: int = 1) -> None:
        self._world, self._threads = world, threads
        self._ranks: list[tuple[SpawnProcess, Connection]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, entry: RankEntry) -> list[Any]:
        """Call the picklable `entry` on every rank; what each returned, rank 0 first.

        Raises what the first rank to fail raised, with its traceback as a note, or RankDied, also for a rank that died
        since the last call. Then the ranks are ended, and the next call starts new ones.
        """
        if not self._ranks:
            self._start()
        message = pickle.dumps(entry)
        try:
            for rank in range(self._world):
                self._ask(rank, message)
            return self._answers()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the ranks: those that wait for work leave by themselves, the others are killed."""
        for _, pipe in self._ranks:
            pipe.close()
        deadline = time.monotonic() + _GRACE_S
        for process, _ in self._ranks:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._ranks = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="tnbench-pool-")
        with environment(variables(self._threads)):
            for rank in range(self._world):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_stay, args=(theirs, self._folder.name, rank, self._world, self._threads), daemon=True
                )
                process.start()
                theirs.close()
                self._ranks.append((process, ours))

    def _answers(self) -> list[Any]:
        pipes = {pipe: rank for rank, (_, pipe) in enumerate(self._ranks)}
        given: dict[int, Any] = {}
        while len(given) < self._world:
            for pipe in wait([pipe for pipe, rank in pipes.items() if rank not in given]):
                assert isinstance(pipe, Connection)
                given[pipes[pipe]] = self._answer(pipe, pipes[pipe])
        return [given[rank] for rank in range(self._world)]

    def _ask(self, rank: int, message: bytes) -> None:
        try:
            self._ranks[rank][1].send_bytes(message)
        except OSError:
            raise self._ended(rank) from None

    def _answer(self, pipe: Connection, rank: int) -> Any:
        try:
            good, value = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._ended(rank) from None
        if not good:
            raise value
        return value

    def _ended(self, rank: int) -> RankDied:
        process, _ = self._ranks[rank]
        process.join(_GRACE_S)
        return RankDied(f"rank {rank} of {self._world} ended by itself (exit code {process.exitcode})")


def _stay(pipe: Connection, folder: str, rank: int, world: int, threads: int) -> None:
    """Be one rank until the pool goes."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{Path(folder) / 'group'}", rank=rank, world_size=world)
    crew = Crew(rank, world, torch.device("cpu"), threads, unchanged, barrier)
    while True:
        try:
            entry = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        pipe.send_bytes(_outcome(entry, crew))


def _outcome(entry: RankEntry, crew: Crew) -> bytes:
    try:
        return pickle.dumps((True, entry(crew)))
    except Exception as error:
        error.add_note(f"rank {crew.rank} of {crew.world} raised:\n{traceback.format_exc()}")
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
