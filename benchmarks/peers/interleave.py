"""Two calls timed in turns, so that what slows the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .contest import SIDES, Duel, Errors, NotHere, Side


class Rounds(NamedTuple):
    """Seconds of each side's calls, one a round, and the errors of every round."""

    ours: list[float]
    theirs: list[float]
    errors: list[Errors]


def interleave(duel: Duel, rounds: int, *, clock: Callable[[], float] = time.perf_counter) -> Rounds:
    """Time both sides of `duel` once in each of `rounds` rounds, after one round that does not count.

    Ours goes first in even rounds and theirs in odd ones, so that neither always finds the caches as the other left
    them. Errors are computed off the clock.
    """
    _play(duel, 0, clock)
    played = [_play(duel, number, clock) for number in range(rounds)]
    errors = [error for _, error in played if error is not None]
    return Rounds([seconds["ours"] for seconds, _ in played], [seconds["theirs"] for seconds, _ in played], errors)


def _play(duel: Duel, number: int, clock: Callable[[], float]) -> tuple[dict[Side, float], Errors | None]:
    seconds: dict[Side, float] = {}
    results: dict[Side, Any] = {}
    duel.before(number)
    for side in SIDES if number % 2 == 0 else SIDES[::-1]:
        call = duel.ours if side == "ours" else duel.theirs
        start = clock()
        results[side] = call(number)
        seconds[side] = clock() - start
    return seconds, duel.errors(results["ours"], results["theirs"]) if duel.errors else None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, OpenMP and the BLAS of NumPy and SciPy use `count` threads. Raises NotHere where cores are fewer."""
    import scipy.linalg  # noqa: F401  which brings a BLAS of its own, to be limited as well
    import torch
    from threadpoolctl import threadpool_limits

    from tnbench.measure.environment import usable_cores

    if usable_cores() < count:
        raise NotHere(f"{count} threads want as many cores, this process has {usable_cores()}")
    before = torch.get_num_threads()
    with threadpool_limits(limits=count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
