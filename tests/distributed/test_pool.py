"""Ranks that stay: one entry after another, errors as they were, new ranks after a death."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
import torch
import torch.distributed as dist

from tnbench.core.errors import NotApplicable, RankDied
from tnbench.core.protocols import Crew
from tnbench.distributed.pool import RankPool


def summed(crew: Crew) -> tuple[int, int, float]:
    total = torch.full((2,), float(crew.rank + 1))
    dist.all_reduce(total)
    return os.getpid(), torch.get_num_threads(), total[0].item()


def refuse_on_last(crew: Crew) -> None:
    if crew.rank == crew.world - 1:
        raise NotApplicable("the last rank declines")
    crew.barrier()


def die_on_last(crew: Crew) -> None:
    if crew.rank == crew.world - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    crew.barrier()


def test_the_same_processes_run_one_entry_after_another(two_ranks: RankPool) -> None:
    first, second = two_ranks.run(summed), two_ranks.run(summed)
    assert first == second
    assert [(threads, total) for _, threads, total in first] == [(1, 3.0), (1, 3.0)]
    assert len({pid for pid, _, _ in first}) == 2


def test_an_error_comes_through_and_the_next_entry_has_new_ranks() -> None:
    with RankPool(2) as pool:
        before = pool.run(summed)
        with pytest.raises(NotApplicable, match="the last rank declines") as caught:
            pool.run(refuse_on_last)
        assert "rank 1 of 2 raised" in caught.value.__notes__[0]
        assert not any(psutil.pid_exists(pid) for pid, _, _ in before)
        after = pool.run(summed)
        assert {pid for pid, _, _ in after}.isdisjoint(pid for pid, _, _ in before)
        dead = psutil.Process(after[1][0])
        dead.kill()
        while dead.status() != psutil.STATUS_ZOMBIE:  # its exit code is the pool's to fetch
            time.sleep(0.01)
        with pytest.raises(RankDied, match=r"rank 1 of 2 ended by itself \(exit code -9\)"):
            pool.run(summed)
        again = pool.run(summed)
        with pytest.raises((RankDied, RuntimeError), match=r"rank 1 of 2 ended by itself|[Cc]losed by peer|Broken"):
            pool.run(die_on_last)
    assert not any(psutil.pid_exists(pid) for pid, _, _ in after + again)
