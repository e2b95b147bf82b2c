"""``auto:P``: it refuses without a calibration, delegates to what it chose, and says so in the notes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tnbench.core.errors import UsageError
from tnbench.core.folders import RESULTS_VARIABLE
from tnbench.core.protocols import Crew
from tnbench.distributed.machine import LAYERS, Link, Machine, Rate
from tnbench.distributed.predict.choice import Asked, Choice
from tnbench.layers.chain import chain
from tnbench.measure.environment import device_model, torch_version
from tnbench.parallel import auto
from tnbench.store.calibrations import save_calibration


@dataclass(frozen=True)
class Recipe:
    batch_size: int


@dataclass(frozen=True)
class Work:
    """As the stages bind it to an entry."""

    model: nn.Module
    recipe: Recipe
    pictures: Tensor


def look(crew: Crew, *, work: Work) -> tuple[int, int, list[str], Tensor]:
    torch.manual_seed(0)
    wrapped = crew.wrap(work.model.train())
    share = work.pictures.float().tensor_split(crew.data_world)[crew.data_rank]
    return crew.world, crew.threads, crew.notes, wrapped(share).detach()


def look_only(crew: Crew) -> int:
    return crew.world


def network() -> nn.Module:
    torch.manual_seed(3)
    factors = [torch.randn(4, 8, 1, 1), torch.randn(6, 4, 3, 3), torch.randn(8, 6, 1, 1)]
    middle = chain(factors, nn.Conv2d(8, 8, 3, padding=1))
    return nn.Sequential(nn.Conv2d(1, 8, 3), middle, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3))


def entry(batch: int = 4) -> Any:
    return partial(look, work=Work(network(), Recipe(batch), torch.arange(6 * 36.0).reshape(6, 1, 6, 6) / 216))


def calibrated(folder: Path, link: Link) -> None:
    rates = tuple(Rate(kind, 8, 1, 1, 1e-8, 1e-8) for kind in LAYERS)
    measured = {"started": "2026-01-01T00:00:00.0+00:00", "cpu": device_model("cpu"), "torch": torch_version()}
    machine = Machine("a machine", 2, 1, link, rates, 0.0, 0.0, measured=measured)
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
    wanted = network().train()(torch.arange(6 * 36.0).reshape(6, 1, 6, 6) / 216)
    for _, _, _, scores in (first, second):
        assert torch.allclose(scores, wanted, atol=1e-4)


def test_an_entry_tells_its_network_and_pictures_or_nothing() -> None:
    found = auto._work_of(entry(batch=4))
    assert found is not None
    assert (found.in_shape, found.batch) == ((1, 6, 6), 4)
    assert auto._work_of(partial(look_only)) is None
    assert auto._work_of(look_only) is None
