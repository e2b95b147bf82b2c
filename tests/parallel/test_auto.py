"""``auto:P``: it refuses without a calibration, delegates to what it chose, and says so in the notes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.folders import RESULTS_VARIABLE
from tnbench.core.protocols import Augmentation, Crew, Guide, Normalisation, Recipe, Task
from tnbench.core.settings import Settings
from tnbench.distributed.machine import LAYERS, Link, Machine, Rate
from tnbench.distributed.predict.choice import Asked, Choice
from tnbench.engine.checkpoint import Checkpoint
from tnbench.layers.chain import chain
from tnbench.measure.environment import device_model, torch_version
from tnbench.parallel import auto
from tnbench.stages.spread import Work
from tnbench.stages.train import Share
from tnbench.store.calibrations import save_calibration

RECIPE = Recipe(epochs=1, lr=0.1, batch_size=4, momentum=0.9, weight_decay=0.0, seed=0)
PICTURES = torch.arange(6 * 36.0).reshape(6, 1, 6, 6) / 216


@dataclass(frozen=True)
class Payload:
    """As the stages bind it to an entry, under other names."""

    net: nn.Module
    run: Recipe = RECIPE
    wants: dict[str, Any] = field(default_factory=dict)

    def task(self) -> Task:
        return Task(self.net, (1, 6, 6), 4, self.run, **{"dtype": "float32", **self.wants})


def look(crew: Crew, *, work: Payload) -> tuple[int, int, list[str], Tensor]:
    torch.manual_seed(0)
    wrapped = crew.wrap(work.net.train())
    share = PICTURES.tensor_split(crew.data_world)[crew.data_rank]
    return crew.world, crew.threads, crew.notes, wrapped(share).detach()


def look_only(crew: Crew) -> int:
    return crew.world


def network() -> nn.Module:
    torch.manual_seed(3)
    factors = [torch.randn(4, 8, 1, 1), torch.randn(6, 4, 3, 3), torch.randn(8, 6, 1, 1)]
    middle = chain(factors, nn.Conv2d(8, 8, 3, padding=1))
    return nn.Sequential(nn.Conv2d(1, 8, 3), middle, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3))


def entry(run: Recipe = RECIPE, **wants: Any) -> Any:
    return partial(look, work=Payload(network(), run, wants))


def calibrated(folder: Path, link: Link, **surroundings: Any) -> None:
    rates = tuple(Rate(kind, 8, 1, 1, 1e-8, 1e-8) for kind in LAYERS)
    measured = {"started": "2026-01-01T00:00:00.0+00:00", "cpu": device_model("cpu"), "torch": torch_version()}
    machine = Machine("a machine", 2, 1, link, rates, 0.0, 0.0, measured=measured | surroundings)
    save_calibration(folder, machine)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "results"))
    return tmp_path / "results"


def test_without_a_calibration_it_refuses_with_the_command(results: Path) -> None:
    assert auto.refuses(2, auto.Options(), "cpu") == (
        f"got auto:2 without a calibration of {device_model('cpu')} with torch {torch_version()} in {results}, wanted "
        f"one; run 'tnbench calibrate --results {results}'"
    )
    calibrated(results, Link(0.0, 0.0))
    assert auto.refuses(2, auto.Options(), "cpu") is None


def test_it_wants_a_count_and_threads_that_are_a_number(results: Path) -> None:
    assert auto.refuses(None, auto.Options(), "cpu") == (
        "got auto without a count, wanted how many processes, such as auto:2"
    )
    with pytest.raises(UsageError, match="parallel auto: got threads = -1"):
        auto.Options(threads=-1)


def test_dear_messages_leave_the_work_to_threads(results: Path) -> None:
    calibrated(results, Link(9.0, 9.0))
    ((world, threads, notes, _),) = auto.launch(entry(), 2, auto.Options(), "cpu", ())
    assert (world, threads) == (1, 2)
    chosen = "threads:2" if torch.get_num_threads() == 1 else "single"  # which has as many threads as torch takes
    assert notes[0].startswith(
        f"auto, by the calibration of 2026-01-01T00:00:00.0+00:00 (a machine): chosen: {chosen}; predicted ms of a step"
    )
    assert "ddp:2" in notes[0]


def test_layers_are_cut_as_they_were_chosen(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrated(results, Link(0.0, 0.0))
    chosen = auto.choose

    def layers(model: nn.Module, asked: Asked, machine: Machine) -> Choice:
        return dataclasses.replace(chosen(model, asked, machine), text="layers", cuts={"1": "rank"})

    monkeypatch.setattr(auto, "choose", layers)
    first, second = auto.launch(entry(), 2, auto.Options(), "cpu", ())
    assert (first[0], second[0]) == (2, 2)
    assert "chosen: layers (rank: 1; the rest whole on each rank)" in first[2][0]
    wanted = network().train()(PICTURES)
    for _, _, _, scores in (first, second):
        assert torch.allclose(scores, wanted, atol=1e-4)


def asked_for(monkeypatch: pytest.MonkeyPatch, given: Any) -> tuple[Asked, str]:
    """What `auto` asks for an entry, and the note that it writes."""
    asked = []
    chosen = auto.choose

    def noted(model: nn.Module, task: Asked, machine: Machine) -> Choice:
        asked.append(task)
        return chosen(model, task, machine)

    monkeypatch.setattr(auto, "choose", noted)
    ((_, _, notes, _),) = auto.launch(given, 2, auto.Options(), "cpu", ())
    return asked[0], notes[0]


def test_what_is_not_calibrated_is_said(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrated(results, Link(9.0, 9.0), load=1.5, cores=2)
    _, plain = asked_for(monkeypatch, entry())
    busy = "+00:00 (a machine), of a busy machine (load 1.5 on 2 cores), for there is no other: chosen"
    assert busy in plain
    assert "of which nothing is known" not in plain
    _, other = asked_for(monkeypatch, entry(dataclasses.replace(RECIPE, optimiser="adamw"), dtype="float64"))
    assert other.endswith(
        "; the calibration is of float32 with SGD, and without amp, channels_last and compile, and this has "
        "dtype = float64, optimiser = adamw, of which nothing is known"
    )


def test_what_the_training_wants_is_asked_for(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrated(results, Link(9.0, 9.0))
    asked, _ = asked_for(monkeypatch, entry(whole_weights=True))
    assert (asked.whole_weights, asked.compiled) == (True, False)
    asked, _ = asked_for(monkeypatch, entry(dataclasses.replace(RECIPE, compile=True)))
    assert (asked.whole_weights, asked.compiled) == (False, True)


class Restless(Guide):
    """It reads weights at its moments."""


def payloads(recipe: Recipe, guide: Guide | None = None, *, curve: bool = False) -> tuple[Task, Task]:
    """What the training and the timing of a case tell, of 6 pictures."""
    model, settings, labels = network(), Settings(curve=curve), torch.zeros(6, dtype=torch.long)
    training = Share(
        model,
        (255 * PICTURES).to(torch.uint8),
        labels,
        Normalisation((0.5,), (0.5,)),
        Augmentation(),
        recipe,
        settings,
        Checkpoint(Path("nowhere"), "a key"),
        guide,
    )
    timing = Work(model, PICTURES, labels, recipe, settings)
    trained, timed = (auto._task_of(partial(look, work=each)) for each in (training, timing))
    assert trained is not None
    assert timed is not None
    return trained, timed


def test_the_stages_payloads_tell_what_they_do() -> None:
    trained, timed = payloads(RECIPE)
    assert (trained.in_shape, trained.batch, trained.dtype, trained.whole_weights) == ((1, 6, 6), 4, "float32", False)
    assert (timed.in_shape, timed.batch, timed.dtype, timed.whole_weights) == ((1, 6, 6), 6, "float32", False)
    for changed in ({"clip": 1.0}, {"decay_on": "kernel"}):
        assert [task.whole_weights for task in payloads(dataclasses.replace(RECIPE, **changed))] == [True, True]
    assert payloads(RECIPE, curve=True)[1].whole_weights
    assert payloads(RECIPE, Restless())[0].whole_weights
    assert payloads(RECIPE, Guide())[0].whole_weights is False


def test_an_entry_without_a_payload_tells_nothing() -> None:
    assert auto._task_of(partial(look_only)) is None
    assert auto._task_of(look_only) is None
