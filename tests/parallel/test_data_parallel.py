"""Data-parallel backends over ranks that stay: a training equals that of one process, and every word is counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training_runs import CHANNELS, RECIPE, SIDE, Trained, check_same, network, spread_as, train

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Crew
from tnbench.distributed.averaging import power_sgd_words
from tnbench.distributed.collectives import Counted, counting, muted
from tnbench.distributed.crew import alone
from tnbench.distributed.fully_sharded import blocks
from tnbench.distributed.pool import RankPool
from tnbench.distributed.predict.data import fsdp_calls
from tnbench.distributed.predict.share import words_by_kind
from tnbench.parallel import ddp, fsdp

EXACT = ("ddp", "ddp[bn=sync]", "ddp[zero=true]", "ddp[bn=sync,zero=true]", "fsdp", "fsdp[bn=sync]")
RECIPES = {
    "sgd": RECIPE,
    "adamw": dataclasses.replace(RECIPE, optimiser="adamw", lr=0.01),
    "ema": dataclasses.replace(RECIPE, ema=0.8),
}


def trained(crew: Crew) -> dict[tuple[str, str], Trained]:
    """Every backend that claims to equal one process, with each recipe."""
    return {
        (text, name): train(spread_as(text, crew), network("sync" in text), recipe)
        for text in EXACT
        for name, recipe in RECIPES.items()
    }


@pytest.fixture(scope="module")
def shared(two_ranks: RankPool) -> list[dict[tuple[str, str], Trained]]:
    return two_ranks.run(trained)


@pytest.mark.parametrize("text", EXACT)
@pytest.mark.parametrize("recipe", RECIPES)
def test_losses_and_weights_equal_those_of_one_process(text: str, recipe: str, shared: list[Any]) -> None:
    got, other = shared[0][text, recipe], shared[1][text, recipe]
    check_same(got, train(alone("cpu"), network("sync" in text), RECIPES[recipe]))
    assert other.loss == got.loss
    assert got.notes == []


@pytest.mark.parametrize("text", [text for text in EXACT if text.startswith("ddp")])
def test_replicas_have_the_same_bits_running_statistics_included(text: str, shared: list[Any]) -> None:
    one, other = (rank[text, "sgd"].own_state for rank in shared)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


class Tied(nn.Module):
    """Two layers that use one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(self.first(x).tanh())
        return out


def one_step(text: str, crew: Crew, model: nn.Module, x: torch.Tensor) -> tuple[Counted, Crew]:
    """One step of SGD with rate 1, down the mean over the whole batch."""
    own = spread_as(text, crew)
    wrapped = own.wrap(model)
    optimiser: Any = (own.optimiser or (lambda kind, *given, **more: kind(*given, **more)))(
        torch.optim.SGD, [{"params": list(model.parameters())}], lr=1.0
    )
    with counting() as counted:
        wrapped(x.tensor_split(own.data_world)[own.data_rank]).square().mean().backward()
        optimiser.step()
    return counted, own


def of_kinds(counted: Counted) -> dict[str, int]:
    return {kind: counted.of(kind) for kind in dict.fromkeys(call.kind for call in counted.calls)}


def words_of_a_step(crew: Crew) -> dict[str, Any]:
    x = torch.ones(4, CHANNELS, SIDE, SIDE)
    found = {}
    for text in ("ddp", "ddp[bn=sync]", "ddp[zero=true,bn=sync]", "fsdp"):
        counted, _ = one_step(text, crew, network(True), x)
        found[text] = of_kinds(counted)
    return found


def test_words_of_a_step_equal_the_formulas(two_ranks: RankPool) -> None:
    model = network(True)
    params, statistics = sum(p.numel() for p in model.parameters()), sum(b.numel() for b in model.buffers())
    normalised = sum(2 * (2 * layer.num_features) + 1 for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    for words in two_ranks.run(words_of_a_step):
        assert words["ddp"] == {"broadcast": statistics, "all_reduce": params}
        assert words["ddp[bn=sync]"] == {"all_reduce": params + normalised}
        assert words["ddp[zero=true,bn=sync]"] == {"all_reduce": params + normalised, "broadcast": params}
        assert words["fsdp"] == words_by_kind(fsdp_calls(model, 2))
    uneven = [p for p in model.parameters() if len(p) % 2]
    padding = sum(p[0].numel() for p in uneven)
    assert padding > 0
    assert words_by_kind(fsdp_calls(model, 2))["reduce_scatter"] == params + padding


def default_and_hooked(crew: Crew) -> bool:
    """Whether torch's own averaging gives the bits that ours does."""
    x = torch.randn(4, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(crew.rank))
    theirs, ours = network(False), network(False)
    wrapped = [DistributedDataParallel(theirs), spread_as("ddp", crew).wrap(ours)]
    for called in wrapped:
        called(x).square().mean().backward()
    return all(torch.equal(a.grad, b.grad) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_counting_changes_no_bit_of_torch_s_averages(two_ranks: RankPool) -> None:
    assert two_ranks.run(default_and_hooked) == [True, True]


def muted_steps(crew: Crew) -> list[int]:
    """Only rank 0 steps, while rank 1 waits in a barrier: nothing may want rank 1."""
    words = []
    for text in ("ddp", "ddp[compress=powersgd]", "ddp[bn=sync,zero=true]", "fsdp"):
        own = spread_as(text, crew)
        model = network(True)
        wrapped = own.wrap(model)
        make: Any = own.optimiser or (lambda kind, *given, **more: kind(*given, **more))
        optimiser = make(torch.optim.SGD, [{"params": list(model.parameters())}], lr=1.0)
        if crew.rank == 0:
            with muted(), counting() as counted:
                wrapped(torch.ones(2, CHANNELS, SIDE, SIDE)).sum().backward()
                optimiser.step()
            words.append(counted.words)
        crew.barrier()
    return words


def test_muted_steps_count_their_words_and_send_nothing(two_ranks: RankPool) -> None:
    words, none = two_ranks.run(muted_steps)
    assert none == []
    assert all(words)


def with_power_sgd(crew: Crew) -> tuple[Trained, list[list[int]], int]:
    """A training, then the words of five steps beside those that torch reduces, and of the last one."""
    made = train(spread_as("ddp[compress=powersgd,powersgd_rank=2]", crew), network(False))
    own, model = spread_as("ddp[compress=powersgd]", crew), nn.Linear(30, 20)
    wrapped, sent, counted_words = own.wrap(model), [], []
    reduce = dist.all_reduce

    def watched(tensor: torch.Tensor, *given: Any, **more: Any) -> Any:
        sent[-1] += tensor.numel()
        return reduce(tensor, *given, **more)

    dist.all_reduce = watched
    try:
        for _ in range(5):
            sent.append(0)
            with counting() as counted:
                wrapped(torch.ones(2, 30)).square().mean().backward()
            counted_words.append(counted.words)
    finally:
        dist.all_reduce = reduce
    return made, [sent, counted_words], counted_words[-1]


def test_power_sgd_sends_two_factors_says_so_and_learns(two_ranks: RankPool) -> None:
    ranks = two_ranks.run(with_power_sgd)
    made, (sent, counted), last = ranks[0]
    assert counted == sent
    assert counted[0] == 30 * 20 + 20
    assert last == 30 + 20 + 20
    assert made.notes == [ddp.POWER_SGD_NOTE.format(rank=2)]
    assert "not that of a single process" in made.notes[0]
    assert made.loss[-1] < made.loss[0]
    assert ranks[1][0].loss == made.loss


def muted_power_sgd(crew: Crew) -> tuple[list[int], int] | None:
    """Words of a silent step and the rank of its gradient, on rank 0, while rank 1 waits in a barrier."""
    own, model = spread_as("ddp[compress=powersgd]", crew), nn.Linear(30, 20)
    wrapped, x = own.wrap(model), torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        with counting() as sent:
            wrapped(x).square().mean().backward()
    found = None
    if crew.rank == 0:
        model.zero_grad()
        with muted(), counting() as counted:
            wrapped(x).square().mean().backward()
        assert model.weight.grad is not None
        found = [sent.words, counted.words], int(torch.linalg.matrix_rank(model.weight.grad))
    crew.barrier()
    return found


def test_a_muted_step_compresses_too(two_ranks: RankPool) -> None:
    found, nothing = two_ranks.run(muted_power_sgd)
    assert found == ([70, 70], 1)
    assert nothing is None


def tied_weights(crew: Crew) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = Tied().double()
    x = torch.arange(16.0, dtype=torch.float64).reshape(4, 4) / 16
    _, own = one_step("fsdp", crew, model, x)
    assert own.gather is not None
    return own.gather(model)


def test_sharding_keeps_shared_weights_shared(two_ranks: RankPool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = Tied().double()
    assert blocks(model) == []
    x = torch.arange(16.0, dtype=torch.float64).reshape(4, 4) / 16
    model(x).square().mean().backward()
    for state in two_ranks.run(tied_weights):
        for name, parameter in model.named_parameters(remove_duplicate=False):
            assert parameter.grad is not None
            torch.testing.assert_close(state[name], (parameter - parameter.grad).detach(), rtol=1e-10, atol=1e-14)


def sharded_sizes(crew: Crew) -> tuple[int, list[str]]:
    model = network(True)
    own = spread_as("fsdp", crew)
    own.wrap(model)
    return sum(p.to_local().numel() for p in model.parameters()), own.notes  # type: ignore[attr-defined]


def test_each_rank_keeps_a_part_and_local_statistics_are_noted(two_ranks: RankPool) -> None:
    whole = sum(p.numel() for p in network(True).parameters())
    (first, notes), (second, _) = two_ranks.run(sharded_sizes)
    assert first + second == whole
    assert max(first, second) < 2 / 3 * whole  # of 3 rows one rank has 2
    assert notes == [fsdp.BATCH_NORM_NOTE]


def clipped(crew: Crew) -> None:
    train(spread_as("fsdp", crew), network(False), dataclasses.replace(RECIPE, clip=1.0))


def test_what_wants_whole_weights_is_refused(two_ranks: RankPool) -> None:
    with pytest.raises(NotApplicable, match="clip wants the whole network on each process"):
        two_ranks.run(clipped)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"powersgd_rank": 0, "compress": "powersgd"}, "got powersgd_rank = 0, wanted a whole number from 1 on"),
        ({"powersgd_rank": 2}, "got powersgd_rank = 2 without compression; add compress=powersgd"),
    ],
)
def test_options_that_mean_nothing_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ddp.Options(**values)


def test_small_gradients_are_not_worth_compressing() -> None:
    state: Any = type("State", (), {"iter": 2, "start_powerSGD_iter": 2, "matrix_approximation_rank": 4})()
    state.min_compression_rate = 2
    assert power_sgd_words(state, [torch.ones(8, 8), torch.ones(64, 64), torch.ones(8)]) == [72, 256, 256]


def test_ranks_and_threads_are_asked_of_the_common_rules() -> None:
    assert fsdp.refuses(2, fsdp.Options(), "cpu") is None
    assert fsdp.refuses(None, fsdp.Options(), "cpu") == (
        "got fsdp without a count, wanted how many processes, such as fsdp:2"
    )
    with pytest.raises(UsageError, match="parallel fsdp: got threads = -1"):
        fsdp.Options(threads=-1)
