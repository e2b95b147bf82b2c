"""When a training counts as diverged, and what is told of it."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path

import pytest
import torch
from recipe_fits import RECIPE, trained
from torch import Tensor, nn

from tnbench.core.case import Case
from tnbench.core.errors import Diverged
from tnbench.core.job import Job
from tnbench.core.protocols import Guide
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.engine.divergence import EXPLOSION, check_converging
from tnbench.sweep.executors.result import outcome_of
from tnbench.sweep.recording import Execution, now, record_of

GUESSING = math.log(10)


def test_a_loss_may_start_anywhere_and_may_not_stay_there() -> None:
    far = 1.01 * EXPLOSION * GUESSING
    check_converging([far], far, 10, RECIPE)
    check_converging([far, 1.0], 0.99 * EXPLOSION * GUESSING, 10, RECIPE)
    said = r"the cross-entropy is 23.3, above 10 times that of guessing \(2.30\), in epoch 2"
    with pytest.raises(Diverged, match=said):
        check_converging([1.0, far], far, 10, RECIPE)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_is_no_number_is_told_at_once_with_the_path_up_to_there(loss: float) -> None:
    with pytest.raises(Diverged, match=f"the loss is {loss} in epoch 3 of 3") as error:
        check_converging([2.0, 1.5, loss], loss, 10, RECIPE)
    assert error.value.loss == [2.0, 1.5]
    assert pickle.loads(pickle.dumps(error.value)).loss == [2.0, 1.5]


def test_a_cross_entropy_that_is_no_number_is_told_as_such() -> None:
    with pytest.raises(Diverged, match="the cross-entropy is nan in epoch 2") as error:
        check_converging([2.0, 1.5], math.nan, 10, RECIPE)
    assert error.value.loss == [2.0, 1.5]


def test_the_only_epoch_is_judged_from_its_middle_on() -> None:
    far, one = 1.01 * EXPLOSION * GUESSING, dataclasses.replace(RECIPE, epochs=1)
    check_converging([far], far, 10, one, settled=0.1)
    check_converging([far], far, 10, one)
    check_converging([far], far, 10, RECIPE, settled=far)
    with pytest.raises(Diverged, match=r"above 10 times .* in epoch 1 of 1"):
        check_converging([1.0], 1.0, 10, one, settled=far)


class Climbs(Guide):
    """Makes the scores huge after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def after_step(self, model: nn.Module) -> None:
        self.left -= 1
        if not self.left:
            model[-1].weight.data.mul_(1e6)


def test_an_explosion_ends_a_training_of_one_epoch() -> None:
    with pytest.raises(Diverged, match="in epoch 1 of 1"):
        trained(guide=Climbs(1), recipe={"lr": 1e-6, "epochs": 1, "batch_size": 2})
    short = trained(guide=Climbs(1), recipe={"lr": 1e-6, "epochs": 1})
    assert short.loss[0] > EXPLOSION * math.log(3), "four batches are too few to tell"


class Explodes(Guide):
    """Makes the scores of the second epoch huge, but finite."""

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        if epoch == 1:
            model[-1].weight.data.mul_(1e6)
        return False


def test_an_explosion_ends_the_training_with_its_epoch() -> None:
    with pytest.raises(Diverged, match="in epoch 2 of 3") as error:
        trained(guide=Explodes(), recipe={"lr": 1e-6})
    assert len(error.value.loss) == 2


class Heavy(Guide):
    """A penalty far above the cross-entropy, as methods with a constraint may have."""

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        return loss + 1000 + 0 * torch.stack([weight.sum() for weight in model.parameters()]).sum()


def test_what_a_guide_adds_to_the_loss_is_no_explosion() -> None:
    assert trained(guide=Heavy()).loss[-1] > 1000


def test_the_record_of_a_diverged_case_has_the_losses_up_to_there(tmp_path: Path) -> None:
    def diverges() -> None:
        raise Diverged("the loss is nan in epoch 3", [2.0, 1.5])

    case = Case.parse("dense/full/cnn8/digits/scratch/single#0")
    job = Job(case, "key", Settings(device="cpu"), Limits(), tmp_path, tmp_path)
    ended = Execution(outcome_of(diverges), now(), 1.0, tmp_path / "logs" / "log")
    record = record_of(job, ended, identity={}, suite="none", registry=Registry())
    assert (record.status, record.reason) == ("diverged", "the loss is nan in epoch 3")
    assert record.samples == {"loss": [2.0, 1.5]}
