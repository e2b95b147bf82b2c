"""The contract of a parallel plug-in, as one check that its author can call.

>>> from tnbench.parallel import threads
>>> check_parallel(threads, count=1)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew, Parallel, RankEntry

Launch = Callable[[RankEntry], list[Any]]


def check_parallel(
    plugin: Parallel,
    *,
    count: int | None,
    options: Any = None,
    device: str = "cpu",
    plugin_files: Sequence[Path] = (),
) -> None:
    """Launch small entries as a case would; AssertionError says what the plug-in does not keep.

    Results come in the order of ranks and tell of one crew; the barrier waits for all; `wrap` trains the model in
    place with gradients averaged over the ranks; an error comes through as it was; afterwards no process is left, and
    the caller's environment and threads are as before.
    """
    reason = plugin.refuses(count, options, device)
    assert reason is None, f"refuses: got the reason {reason!r} for count {count} on {device}, wanted None"
    launch = partial(_launch, plugin, count, options, device, plugin_files)
    with nothing_left_behind():
        views = launch(look_around)
        check_crew(views, device)
        check_barrier(views)
        check_gradients(views)
        check_errors(launch)


class View(NamedTuple):
    """What one rank saw: its crew, the barrier's times in seconds, and gradients (3,) of a model of 3 weights."""

    rank: int
    world: int
    device: str
    threads: int
    threads_of_torch: int
    before_barrier: float
    after_barrier: float
    own_gradient: Tensor
    gradient: Tensor


def look_around(crew: Crew) -> View:
    """The entry whose results the checks judge."""
    model = nn.Linear(3, 1, bias=False).to(crew.device)
    share = torch.arange(3.0, device=crew.device) + crew.rank
    wrapped = crew.wrap(model)
    wrapped(share).sum().backward()
    assert model.weight.grad is not None, "wrap: the model's own weights got no gradient, wanted it trained in place"
    time.sleep(0.1 * crew.rank)
    before = time.monotonic()
    crew.barrier()
    return View(
        crew.rank,
        crew.world,
        crew.device.type,
        crew.threads,
        torch.get_num_threads(),
        before,
        time.monotonic(),
        share,
        model.weight.grad[0],
    )


def check_crew(views: Sequence[View], device: str) -> None:
    """Every rank stands at its place, knows how many there are, and has the device and the threads it is told of."""
    got = [(view.rank, view.world) for view in views]
    wanted = [(rank, len(views)) for rank in range(len(views))]
    assert got, "launch: got no result, wanted one per rank"
    assert got == wanted, f"launch: got (rank, world) {got}, wanted {wanted}"
    for view in views:
        assert view.device == device.partition(":")[0], f"crew: rank {view.rank} is on {view.device}, wanted {device}"
        assert view.threads == view.threads_of_torch, (
            f"crew: rank {view.rank} says {view.threads} threads, torch has {view.threads_of_torch}"
        )


def check_barrier(views: Sequence[View]) -> None:
    """No rank leaves the barrier before the last one has come to it."""
    last, first = max(view.before_barrier for view in views), min(view.after_barrier for view in views)
    assert first >= last, f"barrier: a rank left it {last - first:.3f} s before the last one came"


def check_gradients(views: Sequence[View]) -> None:
    """Every rank ends with the mean of all ranks' gradients."""
    wanted = torch.stack([view.own_gradient for view in views]).mean(0)
    for view in views:
        assert torch.allclose(view.gradient, wanted), (
            f"wrap: rank {view.rank} has the gradient {view.gradient.tolist()}, wanted the ranks' mean "
            f"{wanted.tolist()}"
        )


def check_errors(launch: Launch) -> None:
    """What a rank raises reaches the caller with its type and its text."""
    wanted = NotApplicable(DECLINED)
    got = _outcome(launch, decline)
    assert repr(got) == repr(wanted), f"errors: got {got!r} from an entry that raises, wanted {wanted!r}"


DECLINED = "the last rank has declined"


def decline(crew: Crew) -> None:
    """The entry that fails: the last rank raises while the others wait for it."""
    if crew.rank == crew.world - 1:
        raise NotApplicable(DECLINED)
    crew.barrier()


def _outcome(launch: Launch, entry: RankEntry) -> Any:
    try:
        return launch(entry)
    except Exception as error:
        return error


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """AssertionError if processes, environment variables or numbers of threads differ at the end of the block."""
    resource_tracker.ensure_running()  # Python's own helper, started once by the first spawn and never ended
    before = _surroundings()
    yield
    after = _surroundings()
    for what, was in before.items():
        assert after[what] == was, f"left behind: {what} differ by {sorted(after[what] ^ was)}, wanted as before"


def _surroundings() -> dict[str, set[Any]]:
    # Of variables, names and hashes only: values may be secrets, and what is left behind goes into logs.
    return {
        "child processes": {child.pid for child in psutil.Process().children(recursive=True)},
        "environment variables": {(name, hash(value)) for name, value in os.environ.items()},
        "torch's threads": {torch.get_num_threads()},
    }


def _launch(
    plugin: Parallel,
    count: int | None,
    options: Any,
    device: str,
    plugin_files: Sequence[Path],
    entry: RankEntry,
) -> list[Any]:
    return plugin.launch(entry, count, options, device, plugin_files)
