"""A training that was killed goes on to the same bits, and a checkpoint that cannot be used costs nothing else."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_fits import pictures, same, trained
from torch import nn

from tnbench.core.protocols import Crew, Guide
from tnbench.distributed.crew import alone
from tnbench.engine import resume
from tnbench.engine.checkpoint import Checkpoint, read, write
from tnbench.engine.loop import Watched


class Killed(Exception):
    """In the place of a signal."""


class Counts(Guide):
    """Remembers something across epochs, and dies before epoch `last`, if any."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.seen = last, 0

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        if epoch == self.last:
            raise Killed
        self.seen += 1
        return False

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen, "of": torch.tensor([self.seen])}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self.seen = state["seen"]

    def told(self) -> dict[str, Any]:
        return {"seen": self.seen}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "resume" / "key-1.pt", "start")


def killed(checkpoint: Checkpoint, before: int = 2, recipe: dict[str, Any] | None = None, **more: Any) -> None:
    with pytest.raises(Killed):
        trained(recipe=recipe, checkpoint=checkpoint, guide=Counts(before), **more)


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize(
    "recipe",
    [{}, {"ema": 0.8}, {"optimiser": "adamw"}, {"channels_last": True, "clip": 0.1}, {"schedule": "step"}],
    ids=str,
)
def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(
    checkpoint: Checkpoint, before: int, recipe: dict[str, Any]
) -> None:
    killed(checkpoint, before, recipe)
    crew = alone("cpu")
    run, whole = trained(recipe=recipe, checkpoint=checkpoint, guide=Counts(), crew=crew), trained(recipe=recipe)
    assert same(run, whole)
    assert run.told == {"seen": 3}
    assert (run.resumed, whole.resumed) == (True, False)
    assert len(run.epoch_s) == len(run.wait_s) == 3
    (note,) = crew.notes
    assert note.startswith(f"a training was resumed after epoch {before} of 3")


def test_the_curve_goes_on_too(checkpoint: Checkpoint) -> None:
    watched = Watched(*pictures())
    killed(checkpoint, watched=watched)
    run = trained(checkpoint=checkpoint, watched=watched, guide=Counts())
    assert run.curve == trained(watched=watched).curve


def test_a_training_that_was_done_is_not_done_again(checkpoint: Checkpoint) -> None:
    first = trained(checkpoint=checkpoint, guide=Counts())
    again = trained(checkpoint=checkpoint, guide=Counts(last=0))
    assert same(first, again)
    assert again.epoch_s == first.epoch_s


def test_nothing_is_written_before_it_is_time_to(tmp_path: Path) -> None:
    rare = Checkpoint(tmp_path / "rare.pt", "start", every_s=3600)
    trained(checkpoint=rare)
    assert not rare.file.exists()


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize("spoil", [damaged, cut_short, lambda file: file.write_bytes(b"")])
def test_a_spoilt_checkpoint_is_ignored_with_a_note(checkpoint: Checkpoint, spoil: Any) -> None:
    killed(checkpoint)
    spoil(checkpoint.file)
    crew = alone("cpu")
    assert same(trained(checkpoint=checkpoint, crew=crew), trained())
    assert crew.notes == [
        "the checkpoint key-1.pt was ignored and the training begun anew: its bytes are not those that were written"
    ]


def test_a_checkpoint_of_another_start_is_ignored_with_a_note(checkpoint: Checkpoint) -> None:
    killed(checkpoint)
    crew = alone("cpu")
    other = Checkpoint(checkpoint.file, "another start")
    assert same(trained(checkpoint=other, crew=crew), trained())
    assert "it began from other weights" in crew.notes[0]


def test_a_fresh_run_leaves_it_aside(checkpoint: Checkpoint) -> None:
    killed(checkpoint)
    crew = alone("cpu")
    assert same(trained(checkpoint=Checkpoint(checkpoint.file, "start", resumes=False), crew=crew), trained())
    assert crew.notes == []


def test_a_full_disk_is_a_note_and_the_training_goes_on(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(resume, "write", full)
    crew = alone("cpu")
    assert same(trained(checkpoint=checkpoint, crew=crew), trained())
    (note,) = crew.notes
    assert note.startswith("no checkpoint could be written after epoch 1 (No space left on device)")


def test_a_write_that_fails_leaves_the_earlier_file_and_no_other(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkpoint, {"done": 1})

    def fails(*_: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="enforce fail"):
        write(checkpoint, {"done": 2})
    state, why = read(checkpoint)
    assert (state or {})["done"] == 1
    assert why == ""
    assert list(checkpoint.file.parent.iterdir()) == [checkpoint.file]


class Adapts(Guide):
    """Puts a layer of another size into the network after the first epoch, and can do so again."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        if epoch == self.last:
            raise Killed
        if epoch != 1:
            return False
        self._narrow(model)
        return True

    def _narrow(self, model: nn.Module) -> None:
        model[1] = nn.Linear(36, 2)
        model[2] = nn.Linear(2, 3)
        torch.nn.init.constant_(model[1].weight, 0.1)
        torch.nn.init.constant_(model[2].weight, 0.1)

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self._narrow(model)


def flat() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 3))


def test_a_network_that_a_guide_has_changed_is_taken_up_as_it_was(checkpoint: Checkpoint) -> None:
    with pytest.raises(Killed):
        trained(flat(), checkpoint=checkpoint, guide=Adapts(last=2))
    assert same(
        trained(flat(), checkpoint=checkpoint, guide=Adapts()),
        trained(flat(), guide=Adapts()),
    )


@pytest.fixture(autouse=True)
def _generator_unmoved() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_that_read_different_things_begin_anew(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(checkpoint)
    monkeypatch.setattr(resume, "_from_all", lambda value, crew: [value, None])
    crew: Crew = alone("cpu")
    assert resume.stored(checkpoint, crew) is None
