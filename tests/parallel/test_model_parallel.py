"""Networks whose layers the ranks share are the networks of one process, in float64."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from model_parallel_cases import KINDS, Compared, compared, factorise_all, farthest, pictures, small, trained
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Crew
from tnbench.distributed.crew import alone
from tnbench.distributed.pool import RankPool
from tnbench.models import resnet
from tnbench.parallel import bottleneck_tp, rank_tp, spatial

TOLERANCE = 1e-10

WAYS: dict[str, tuple[ModuleType, Any]] = {
    "rank_tp": (rank_tp, rank_tp.Options()),
    "bottleneck_tp": (bottleneck_tp, bottleneck_tp.Options()),
    "bottleneck_tp[core=split]": (bottleneck_tp, bottleneck_tp.Options(core="split")),
    "spatial": (spatial, spatial.Options()),
}


def crew_for(crew: Crew, way: str) -> Crew:
    """A crew with notes of its own."""
    plugin, options = WAYS[way]
    spread: Crew = plugin.spread(dataclasses.replace(crew, notes=[]), None, options)
    return spread


def residual_network() -> nn.Module:
    torch.manual_seed(4)
    return factorise_all(resnet.build("resnet20", None, (3, 16, 16), 10), "tucker2", 6).double()


def every_network(crew: Crew, *, way: str) -> dict[str, Compared]:
    kinds = KINDS if crew.world == 2 else ("cp", "tucker2")
    found = {kind: compared(crew_for(crew, way), small(kind), pictures()) for kind in kinds}
    if crew.world == 2:
        found["resnet20"] = compared(crew_for(crew, way), residual_network(), pictures(4, side=16))
    return found


@pytest.mark.parametrize("pool", ["two_ranks", "four_ranks"])
@pytest.mark.parametrize("way", WAYS)
def test_scores_gradients_and_statistics_are_those_of_one_process(
    way: str, pool: str, request: pytest.FixtureRequest
) -> None:
    ranks = request.getfixturevalue(pool).run(partial(every_network, way=way))
    for found in ranks:
        for name, got in found.items():
            assert max(got.scores, got.eval_scores, got.gradients, got.state) < TOLERANCE, (name, got)
            assert got.forward, f"{name}: nothing was exchanged, so nothing was shared"
            assert got.backward
    parts = [found["tucker2"].own_parameters for found in ranks]
    whole = ranks[0]["tucker2"].all_parameters
    assert parts == [whole] * len(ranks) if way == "spatial" else max(parts) < whole


class Trained(NamedTuple):
    """Losses of all networks, and on rank 0 those of one process, how far the trained states are, and what moved."""

    losses: list[float]
    wanted_losses: list[float]
    states: dict[str, float]
    moved: list[float]


def train_all(crew: Crew, *, way: str) -> Trained:
    found = Trained([], [], {}, [])
    models = {kind: small(kind) for kind in ("svd", "cp3", "tucker2", "tt")}
    for kind, model in (models | {"resnet20": residual_network()}).items():
        losses, state = trained(crew_for(crew, way), copy.deepcopy(model))
        found.losses.extend(losses)
        if crew.rank == 0:
            begun = copy.deepcopy(model.state_dict())
            wanted_losses, wanted = trained(alone("cpu"), model)
            found.wanted_losses.extend(wanted_losses)
            found.states[kind] = farthest(state, wanted)
            found.moved.append(farthest(wanted, begun))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_training_is_that_of_one_process(way: str, two_ranks: RankPool) -> None:
    first, second = two_ranks.run(partial(train_all, way=way))
    assert first.losses == pytest.approx(first.wanted_losses, rel=TOLERANCE)
    assert min(first.moved) > 0.01, "nothing was learnt, so nothing was compared"
    assert second.losses == first.losses
    assert len(first.states) == 5
    assert max(first.states.values()) < TOLERANCE


def notes_of_tucker2(crew: Crew, *, way: str) -> list[str]:
    return compared(crew_for(crew, way), small("tucker2"), pictures()).notes


def test_notes_say_what_is_shared_and_what_a_whole_core_costs(two_ranks: RankPool) -> None:
    shared = "the ranks share the work of 3 layers (conv2, conv3, conv4); whole on each rank: conv1, linear"
    for way in ("bottleneck_tp", "bottleneck_tp[core=split]"):
        notes = two_ranks.run(partial(notes_of_tucker2, way=way))[0]
        assert notes[0] == shared
        assert (len(notes) == 1) == way.endswith("[core=split]")
    (told,) = two_ranks.run(partial(notes_of_tucker2, way="bottleneck_tp"))[0][1:]
    assert "57% to 78% of a layer's multiply-accumulates" in told
    assert "no number of ranks makes conv2 more than 1.29 times faster" in told
    (of_rows,) = two_ranks.run(partial(notes_of_tucker2, way="spatial"))[0]
    assert of_rows == "the ranks share the work of 4 layers (conv1, conv2, conv3, conv4); whole on each rank: linear"


def why_not(crew: Crew, *, way: str, model: nn.Module, side: int = 12) -> str:
    try:
        crew_for(crew, way).wrap(model)(torch.ones(2, 3, side, side))
    except NotApplicable as error:
        return str(error)
    return "it can"


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = small("svd").conv2

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        y: Tensor = self.conv(x)
        return y


@pytest.mark.parametrize(
    ("way", "model", "side", "says"),
    [
        (
            "rank_tp",
            nn.Conv2d(3, 4, 3),
            12,
            "the rank cut over 2 processes cuts chains .* none to cut (the network has none)",
        ),
        ("rank_tp", small("svd", 1).conv2, 12, "none to cut (: one of its factors has 1 outputs for 2 ranks)"),
        ("bottleneck_tp", Branching(), 12, "forward method cannot be traced (TraceError: "),
        ("spatial", Branching(), 12, "forward method cannot be traced (TraceError: "),
        ("spatial", nn.Conv2d(3, 4, 3), 3, "pictures of (3, 3) pixels for 2 processes"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_the_reason(
    way: str, model: nn.Module, side: int, says: str, two_ranks: RankPool
) -> None:
    for reason in two_ranks.run(partial(why_not, way=way, model=model, side=side)):
        for part in says.split(".*"):
            assert part.strip() in reason


def mixed(crew: Crew) -> tuple[list[str], float]:
    """One layer of too low a rank beside one that can be shared."""
    model = small("svd")
    model.set_submodule("conv4", small("svd", 1).conv4)
    got = compared(crew_for(crew, "rank_tp"), model, pictures())
    return got.notes, max(got.scores, got.gradients)


def test_a_layer_of_too_low_a_rank_stays_whole_and_a_note_says_why(two_ranks: RankPool) -> None:
    for notes, error in two_ranks.run(mixed):
        assert "conv4 (one of its factors has 1 outputs for 2 ranks)" in notes[0]
        assert error < TOLERANCE


def twice(crew: Crew) -> None:
    crew, model = crew_for(crew, "rank_tp"), small("svd")
    crew.wrap(crew.wrap(model))


def test_a_model_is_shared_out_once(two_ranks: RankPool) -> None:
    with pytest.raises(ValueError, match="shared out over the ranks before"):
        two_ranks.run(twice)


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_wanted_and_options_checked(way: str) -> None:
    plugin, options = WAYS[way]
    name = way.partition("[")[0]
    assert plugin.refuses(2, options, "cpu") is None
    assert plugin.refuses(None, options, "cpu") == (
        f"got {name} without a count, wanted how many processes, such as {name}:2"
    )
    with pytest.raises(UsageError, match=f"parallel {name}: got threads = -1, wanted"):
        type(options)(threads=-1)


def own_tensors(crew: Crew) -> tuple[tuple[int, int] | None, list[float], int]:
    """In new processes: the crew's share, the error, and its threads."""
    crew = dataclasses.replace(crew, notes=[])
    got = compared(crew, small("tucker2"), pictures())
    return crew.share, [got.scores, got.gradients, got.state], crew.threads


def test_launched_ranks_work_on_the_whole_batch() -> None:
    for share, errors, threads in bottleneck_tp.launch(own_tensors, 2, bottleneck_tp.Options(threads=1), "cpu", ()):
        assert share == (0, 1)
        assert max(errors) < TOLERANCE
        assert threads == 1
