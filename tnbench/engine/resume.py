"""Going on with a training that was killed: what is kept after an epoch, and how it is taken up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.engine.checkpoint import Checkpoint, read, write
from tnbench.engine.progress import Progress

Told = TypeVar("Told")

_SHARED = ("loss", "epoch_s", "curve")
_OWN = ("step_s", "wait_s", "peak_bytes")


@dataclass
class Keeper:
    """Writes the checkpoints of one fit: rank 0 those of all ranks."""

    checkpoint: Checkpoint
    crew: Crew
    _last: float = field(default_factory=time.monotonic)
    _failed: bool = False

    def keep(self, progress: Progress) -> None:
        """Write one if it is time to. Where that fails, a note says so and the training goes on."""
        due = time.monotonic() - self._last >= self.checkpoint.every_s
        if not _from_rank_zero(due, self.crew):
            return
        ranks = _from_all(_own(progress, self.crew), self.crew)
        if self.crew.rank == 0:
            self._write(_shared(progress) | {"ranks": ranks})
        self._last = time.monotonic()

    def _write(self, state: dict[str, Any]) -> None:
        try:
            write(self.checkpoint, state)
        except OSError as error:
            if not self._failed:
                self.crew.notes.append(
                    f"no checkpoint could be written after epoch {state['done']} ({error.strerror}); "
                    f"the training went on, but could not have been resumed from there"
                )
            self._failed = True


def stored(checkpoint: Checkpoint, crew: Crew) -> dict[str, Any] | None:
    """What an earlier run kept, if every rank reads the same of it. A note says why a file does not do."""
    state, why = read(checkpoint)
    if why:
        crew.notes.append(why)
    found = _from_all(state["done"] if state and len(state["ranks"]) == crew.world else None, crew)
    return state if len(set(found)) == 1 and found[0] is not None else None


def take_up(progress: Progress, state: dict[str, Any], crew: Crew) -> None:
    """Put network, optimiser, average, generators and what was measured to where `state` has them.

    The guide has taken up its own already, since it may have put other parameters into the network.
    """
    own = state["ranks"][crew.rank]
    progress.take.optimiser.load_state_dict(state["optimiser"])
    if progress.average is not None:
        progress.average.resume(state["average"])
    for name in _SHARED:
        setattr(progress.run, name, state[name])
    for name in _OWN:
        setattr(progress.run, name, own[name])
    progress.done = state["done"]
    torch.set_rng_state(own["generator"])
    if crew.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda_generator"], crew.device)


def _shared(progress: Progress) -> dict[str, Any]:
    return {
        "done": progress.done,
        "model": dict(progress.model.state_dict()),
        "optimiser": progress.take.optimiser.state_dict(),
        "average": progress.average and progress.average.state(),
        **{name: getattr(progress.run, name) for name in _SHARED},
    }


def _own(progress: Progress, crew: Crew) -> dict[str, Any]:
    generators: dict[str, Tensor] = {"generator": torch.get_rng_state()}
    if crew.device.type == "cuda":
        generators["cuda_generator"] = torch.cuda.get_rng_state(crew.device)
    return {**generators, "guide": progress.guide.state(), **{name: getattr(progress.run, name) for name in _OWN}}


def _from_rank_zero(value: Told, crew: Crew) -> Told:
    return _from_all(value, crew)[0]


def _from_all(value: Told, crew: Crew) -> list[Told]:
    """What every rank has, rank 0 first."""
    if crew.world == 1:
        return [value]
    told: list[Told | None] = [None] * crew.world
    torch.distributed.all_gather_object(told, value)
    return cast(list[Told], told)
