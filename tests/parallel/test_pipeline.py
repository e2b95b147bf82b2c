"""Stages over ranks: cuts, words, and a training that equals that of one process where BatchNorm sees whole batches."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from training_runs import CHANNELS, CLASSES, PICTURES, RECIPE, SIDE, Trained, check_same, network, spread_as, train

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Crew
from tnbench.core.settings import Settings
from tnbench.distributed.collectives import counting, muted
from tnbench.distributed.crew import alone
from tnbench.distributed.pipeline.split import Split, split, stage_of
from tnbench.distributed.pool import RankPool
from tnbench.models import resnet
from tnbench.parallel import pipeline
from tnbench.stages.spread import LEAST_SAMPLES, RankFound, Work, measure_rank

RUNS = {"pipeline": False, "pipeline[microbatches=1]": True, "pipeline[microbatches=100]": False}


def trained(crew: Crew) -> tuple[dict[str, Trained], Trained]:
    """The runs that equal one process, and one that does not."""
    runs = {text: train(spread_as(text, crew), network(batch_norm)) for text, batch_norm in RUNS.items()}
    return runs, train(spread_as("pipeline", crew), network(True))


@pytest.fixture(scope="module")
def shared(two_ranks: RankPool) -> list[tuple[dict[str, Trained], Trained]]:
    return two_ranks.run(trained)


@pytest.mark.parametrize("text", RUNS)
def test_losses_and_weights_equal_those_of_one_process(text: str, shared: list[Any]) -> None:
    got = shared[0][0][text]
    check_same(got, train(alone("cpu"), network(RUNS[text])))
    assert got.notes == []
    assert shared[1][0][text].loss == got.loss


def test_each_rank_holds_the_weights_of_its_own_stage(shared: list[Any]) -> None:
    held = [{name for name, value in rank[0]["pipeline"].own_state.items() if value.numel()} for rank in shared]
    assert held[0] | held[1] == set(network(False).state_dict())
    assert not held[0] & held[1]
    assert all(held)


def test_micro_batches_with_batch_norm_say_that_they_differ(shared: list[Any]) -> None:
    got = shared[0][1]
    assert got.notes == [pipeline.BATCH_NORM_NOTE.format(microbatches=4)]
    wanted = train(alone("cpu"), network(True))
    assert abs(got.loss[0] / wanted.loss[0] - 1) > 1e-4
    assert got.loss[-1] < got.loss[0]


class Step(NamedTuple):
    """What one rank found for a residual network in eval mode: scores without and with gradients, calls, gradients."""

    inference: Tensor
    scores: Tensor
    calls: list[Any]
    gradients: dict[str, Tensor | None]
    muted: tuple[int, ...]


def residual() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return resnet.build("resnet8", None, (3, 16, 16), 10).double()


def batch() -> Tensor:
    return torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def steps(crew: Crew) -> Step:
    model = residual().eval()
    own = spread_as("pipeline[microbatches=3]", crew)
    wrapped = own.wrap(model)
    with torch.no_grad():
        inference = wrapped(batch())
    with counting() as counted:
        scores = wrapped(batch())
        functional.cross_entropy(scores, torch.arange(7)).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    silent = ()
    if crew.rank == 1:  # while the others wait in the barrier
        with muted():
            silent = tuple(wrapped(batch()).shape)
    crew.barrier()
    return Step(inference, scores.detach(), counted.calls, gradients, silent)


def test_four_stages_of_a_residual_network(four_ranks: RankPool) -> None:
    model, made = residual().eval(), split(residual().eval(), batch(), 4)
    functional.cross_entropy(model(batch()), torch.arange(7)).backward()
    ranks = four_ranks.run(steps)
    words = [7 * kind.sides[0] * kind.sides[1] * kind.sides[2] for kind in made.leaves[:-1]]
    for rank, found in enumerate(ranks):
        torch.testing.assert_close(found.inference, model(batch()).detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.scores, model(batch()).detach(), rtol=1e-10, atol=1e-12)
        exchanged, sent = (
            sum(call.words for call in found.calls if call.kind == kind) for kind in ("exchange", "broadcast")
        )
        forward, backward = words[rank] if rank < 3 else 0, words[rank - 1] if rank else 0
        assert (exchanged, sent) == (forward + backward, 7 * 10)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        gradient = ranks[made.owners[name]].gradients[name]
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-10, atol=1e-13)
    assert ranks[1].muted == (7, 10)


def test_stages_have_about_equal_work_and_make_up_the_network() -> None:
    model = residual().eval()
    made = split(model, batch(), 4)
    assert sum(made.macs) == 3_060_352
    assert max(made.macs) < 0.4 * sum(made.macs)
    x = batch()
    for stage in range(4):
        x = stage_of(model, made, stage)(x)
    torch.testing.assert_close(x, model(batch()))
    assert set(made.owners.values()) == {0, 1, 2, 3}


class Shared(nn.Module):
    """The first and the last of three layers use one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.second(self.first(x)))
        return scores


class Decides(nn.Module):
    """Goes another way for large pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) if x.sum() > 0 else x
        return out


@pytest.mark.parametrize(
    ("model", "stages", "says"),
    [
        (Shared(), 2, r"got 2 stages for a network that can be cut into 1 .*wanted at most pipeline:1"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), 3, "can be cut into 2 .*at most pipeline:2"),
        (Decides(), 2, r"torch.fx cannot follow its forward pass \(TraceError.*take ddp or fsdp instead"),
        (nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2))), 2, "something else than scores"),
    ],
)
def test_what_cannot_be_cut_says_why(model: nn.Module, stages: int, says: str) -> None:
    with pytest.raises(NotApplicable, match=says):
        split(model, torch.ones(3, 4), stages)


class Modal(nn.Module):
    """Has an operation more in training."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = self.last(2 * x if self.training else x)
        return out


def test_other_operations_in_training_are_refused_when_they_show() -> None:
    model = Modal()
    made: Split = split(model, torch.ones(3, 4), 2)
    assert stage_of(model, made, 0)(torch.ones(3, 4)).shape == (3, 4)
    with pytest.raises(NotApplicable, match="other operations in training than in evaluation"):
        stage_of(model.eval(), made, 0)


def test_options_and_counts_are_checked() -> None:
    with pytest.raises(UsageError, match="got microbatches = 0, wanted a whole number from 1 on"):
        pipeline.Options(microbatches=0)
    assert pipeline.refuses(None, pipeline.Options(), "cpu") == (
        "got pipeline without a count, wanted how many processes, such as pipeline:2"
    )


def words_of_a_training(crew: Crew) -> int:
    return train(spread_as("pipeline", crew), network(False)).words


def test_a_training_sends_each_picture_across_the_cut_and_its_gradient_back(two_ranks: RankPool) -> None:
    made = split(network(False), torch.ones(1, CHANNELS, SIDE, SIDE), 2)
    crossing = made.leaves[0].sides[0] * made.leaves[0].sides[1] * made.leaves[0].sides[2]
    scores, weights = 3, sum(value.numel() for value in network(False).state_dict().values())
    wanted = RECIPE.epochs * PICTURES * (crossing + scores) + weights  # gathered in the end
    assert two_ranks.run(words_of_a_training) == [wanted, wanted]


def measured_in_bfloat16(crew: Crew) -> tuple[RankFound, Tensor]:
    """Steps under autocast, then inference without; and scores under autocast of a network that is cut without."""
    pictures = torch.randn(8, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    recipe = dataclasses.replace(RECIPE, amp=True)
    work = Work(network(False), pictures, torch.arange(8) % CLASSES, recipe, Settings(device="cpu"))
    found = measure_rank(spread_as("pipeline", crew), work=work)
    wrapped = spread_as("pipeline", crew).wrap(network(False))
    wrapped(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        scores = wrapped(pictures)
    scores.sum().backward()
    return found, scores.detach()


def test_the_type_of_what_crosses_does_not_depend_on_autocast(two_ranks: RankPool) -> None:
    pictures = torch.randn(8, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    with torch.autocast("cpu", torch.bfloat16):
        made, wanted = split(network(False), pictures, 2), network(False)(pictures)
    for found, scores in two_ranks.run(measured_in_bfloat16):
        assert len(found.times["infer_ms"]) >= LEAST_SAMPLES
        torch.testing.assert_close(scores, wanted.float(), rtol=1e-2, atol=1e-2)
    assert {kind.dtype for kind in made.leaves} == {torch.float32}
