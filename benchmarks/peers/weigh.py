"""How many bytes one side holds at its peak, weighed in a fresh process.

`arrays`: what torch's allocator, or NumPy's as tracemalloc sees it, had handed out at the peak. `resident`: how far the
process's resident set grew. Both count the input, which is there before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from .contest import Contest, Side

_ROOT = Path(__file__).parents[2]


class Peak(NamedTuple):
    """Bytes at the peak."""

    arrays: int
    resident: int


def weigh(contest: Contest, side: Side) -> Peak:
    """The peak of one call of `side`, in a process of its own. Raises CalledProcessError where that fails."""
    assert contest.weights is not None, f"{contest.name} weighs nothing"
    # torch's profiler would tell of GPUs that it did not find.
    surroundings = {"KINETO_LOG_LEVEL": "99", **os.environ}
    command = [sys.executable, "-m", "benchmarks.peers.weigh", contest.name, side]
    done = subprocess.run(command, cwd=_ROOT, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
    grown, resident = map(int, done.stdout.split()[-2:])
    return Peak(contest.weights.unit + grown, contest.weights.unit + resident)


def _weigh_here(name: str, side: Side) -> Peak:
    from tnbench.measure.memory import PeakMemory

    from .contests import contests
    from .interleave import threads

    (contest,) = (contest for contest in contests() if contest.name == name)
    with threads(contest.threads):
        duel = contest.ready()
        call = duel.ours if side == "ours" else duel.theirs
        duel.before(0)
        with PeakMemory("cpu") as resident:
            call(0)
        return Peak(array_bytes(lambda: call(0)), resident.bytes)


def array_bytes(call: Callable[[], object]) -> int:
    """Bytes that tensors and NumPy arrays made by `call` take together at the peak."""
    from torch.autograd.profiler import profile

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    try:
        with profile(profile_memory=True, use_kineto=True) as seen:
            call()
            _, peak = tracemalloc.get_traced_memory()  # before the profiler's own objects
    finally:
        tracemalloc.stop()
    moves = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for move in sorted(moves, key=lambda event: int(event.start_ns())):
        held += move.nbytes()
        highest = max(highest, held)
    return highest + peak - before


if __name__ == "__main__":
    print(*_weigh_here(sys.argv[1], cast(Side, sys.argv[2])))
