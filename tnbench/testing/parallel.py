"""The contract of a parallel plug-in, as one check that its author can call.

>>> from tnbench.parallel import threads
>>> check_parallel(threads, count=1)
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple, cast

import psutil
import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew, Parallel, RankEntry, Recipe
from tnbench.distributed.collectives import counting
from tnbench.engine.loop import whole_state
from tnbench.engine.optimiser import optimiser_for

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
    place, and after a step `gather` gives what a step of one process gives, whether the ranks share the batch or the
    network; what is sent is counted; an error comes through as it was; afterwards no process is left, and the caller's
    environment and threads are as before. A plug-in that says ``TRAINS = False`` refuses to launch an entry instead.
    """
    reason = plugin.refuses(count, options, device)
    assert reason is None, f"refuses: got the reason {reason!r} for count {count} on {device}, wanted None"
    launch = partial(_launch, plugin, count, options, device, plugin_files)
    with nothing_left_behind():
        if not getattr(plugin, "TRAINS", True):
            check_launches_nothing(launch)
            return
        check_views(launch(look_around), device)
        check_errors(launch)


def check_views(views: Sequence[View], device: str = "cpu") -> None:
    """All that can be told from what the ranks saw, in their order; for ranks that stay, too."""
    check_crew(views, device)
    check_barrier(views)
    for view in views:
        check_step(view.rank, view.plain)
        check_step(view.rank, view.normalised, but_for="BatchNorm")
    check_counted(views)


class Stepped(NamedTuple):
    """The largest difference of a weight after a step from that of one process, relative to the largest gradient.

    `off` names the weight. `notes` are those of the crew by then, `words` what was counted.
    """

    difference: float
    off: str
    notes: list[str]
    words: int


class View(NamedTuple):
    """What one rank saw: its crew, the barrier's times in seconds, and a step without and one with BatchNorm."""

    rank: int
    world: int
    device: str
    threads: int
    threads_of_torch: int
    before_barrier: float
    after_barrier: float
    plain: Stepped
    normalised: Stepped


def look_around(crew: Crew) -> View:
    """The entry whose results the checks judge."""
    plain, normalised = stepped(crew, small_network(False)), stepped(crew, small_network(True))
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
        plain,
        normalised,
    )


def small_network(batch_norm: bool) -> nn.Module:
    """A convolution, a chain of factors and a linear layer in float64, so that there is something to cut for all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6) if batch_norm else nn.Identity(), nn.ReLU()]
        factors = [nn.Conv2d(6, 4, 1, bias=False), nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Conv2d(4, 6, 1)]
        last = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
        return nn.Sequential(*first, nn.Sequential(*factors), *last).double()


def stepped(crew: Crew, model: nn.Module) -> Stepped:
    """One step of gradient descent with rate 1 on a batch that shares do not divide evenly, beside one process's."""
    model.to(crew.device)
    alone = copy.deepcopy(model)
    pictures = torch.randn(4 * crew.world + 1, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pictures = pictures.to(crew.device)
    alone(pictures).square().mean().backward()
    moves = {
        name: (values.detach().cpu(), cast(Tensor, values.grad).cpu()) for name, values in alone.named_parameters()
    }
    share = pictures.tensor_split(crew.data_world)[crew.data_rank]
    weight = len(share) * crew.data_world / len(pictures)
    with counting() as counted:
        wrapped = crew.wrap(model)
        optimiser = optimiser_for(model, _STEP, crew=crew)
        (weight * wrapped(share).square().mean()).backward()
        optimiser.step()
    assert any(parameter.grad is not None for parameter in model.parameters()), (
        "wrap: the model's own weights got no gradient, wanted it trained in place"
    )
    after = whole_state(model, crew)
    lacking = sorted(moves.keys() - after.keys())
    assert not lacking, f"gather: lacks {', '.join(lacking)}, wanted every weight under its name"
    off = {name: _largest(before - gradient - after[name].cpu()) for name, (before, gradient) in moves.items()}
    worst = max(off, key=off.__getitem__)
    scale = max(_largest(gradient) for _, gradient in moves.values())
    return Stepped(off[worst] / scale, worst, list(crew.notes), counted.words)


_STEP = Recipe(epochs=1, lr=1.0, batch_size=1, momentum=0.0, weight_decay=0.0, seed=0)
_CLOSE = 1e-10


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


def check_step(rank: int, step: Stepped, but_for: str = "") -> None:
    """A step is that of one process, or a note says that it is not: of `but_for`, where that is in the network."""
    if step.difference <= _CLOSE or (but_for and any(but_for in note for note in step.notes)):
        return
    note = f", or a note that says what is done in {but_for}" if but_for else ""
    raise AssertionError(
        f"wrap: rank {rank} gathers the weight {step.off} that differs by {step.difference:.1e} of the largest "
        f"gradient from a step of one process, wanted at most {_CLOSE:g}{note}"
    )


def check_counted(views: Sequence[View]) -> None:
    """Whatever ranks send to one another is counted."""
    for view in views:
        assert len(views) == 1 or view.plain.words > 0, (
            f"wrap: rank {view.rank} of {len(views)} counted no word in a step, wanted what is sent to go through "
            f"tnbench.distributed.collectives, or to be told to its note_call"
        )


def check_launches_nothing(launch: Launch) -> None:
    """A plug-in that trains nothing says so as a reason to skip a case."""
    got = _outcome(launch, look_around)
    assert isinstance(got, NotApplicable), f"launch: got {got!r} where TRAINS is false, wanted NotApplicable"


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


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


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
