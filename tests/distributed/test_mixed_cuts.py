"""Layers cut in different ways in one network: exact on two ranks, and the words that were predicted."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from synthetic_machine import machine
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import counting
from tnbench.distributed.mixed_cuts import Cuts, roles_of, shard_mixed
from tnbench.distributed.placement import joined
from tnbench.distributed.pool import RankPool
from tnbench.distributed.predict.step import Prediction, predict_step
from tnbench.layers.chain import chain

IN_SHAPE, BATCH = (3, 6, 5), 4
WHOLE: Cuts = {}
CUTS: list[Cuts] = [
    {"a": "rank", "c": "bottleneck"},
    {"a": "bottleneck", "b": "bottleneck_split", "c": "rank"},
    {"b": "bottleneck_split"},
    {"a": "rank", "b": "rank"},
]


def tucker(inp: int, out: int, ranks: tuple[int, int]) -> nn.Module:
    factors = [
        torch.randn(ranks[0], inp, 1, 1),
        torch.randn(ranks[1], ranks[0], 3, 3),
        torch.randn(out, ranks[1], 1, 1),
    ]
    return chain([factor / factor[0].numel() ** 0.5 for factor in factors], nn.Conv2d(inp, out, 3, padding=1))


class Three(nn.Module):
    """A dense layer and three compressed ones, `a` and `b` in a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.a, self.b, self.c = tucker(8, 8, (4, 5)), tucker(8, 8, (5, 4)), tucker(8, 7, (4, 6))
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to 3 scores."""
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.norm(self.b(torch.relu(self.a(x)))))
        return self.last(self.c(x).mean((2, 3)))


def model() -> nn.Module:
    torch.manual_seed(1)
    return Three().double().train()


def pictures() -> Tensor:
    return torch.randn(BATCH, *IN_SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def stepped(called: nn.Module) -> tuple[Tensor, dict[str, int]]:
    with counting() as counted:
        scores = called(pictures())
        (scores**2).sum().backward()
    return scores.detach(), {kind: counted.of(kind) for kind in {call.kind for call in counted.calls}}


def on_ranks(crew: Crew, *, network: nn.Module) -> list[tuple[Tensor, dict[str, Tensor], dict[str, int]]]:
    return [_cut(copy.deepcopy(network), cuts) for cuts in CUTS]


def _cut(network: nn.Module, cuts: Cuts) -> tuple[Tensor, dict[str, Tensor], dict[str, int]]:
    called, shards = shard_mixed(network, cuts, None)
    scores, words = stepped(called)
    gradients: dict[str, Any] = {name: value.grad for name, value in network.named_parameters()}
    whole = {name: joined(value, shards[name], None) if name in shards else value for name, value in gradients.items()}
    return scores, whole, words


def test_scores_gradients_and_words(two_ranks: RankPool) -> None:
    alone = model()
    scores, _ = stepped(alone)
    first, second = two_ranks.run(partial(on_ranks, network=model()))
    for place, cuts in enumerate(CUTS):
        for got, gradients, words in (first[place], second[place]):
            assert torch.allclose(got, scores, atol=1e-12), cuts
            for name, value in alone.named_parameters():
                assert value.grad is not None
                assert torch.allclose(gradients[name], value.grad, atol=1e-10), (cuts, name)
            found = predict_step(model(), IN_SHAPE, BATCH, "rank_tp:2", machine(), cuts=cuts)
            assert isinstance(found, Prediction)
            assert words == found.words_by_kind, cuts


@pytest.mark.parametrize(
    ("cuts", "reason"),
    [
        (
            {"first": "rank"},
            "the rank cut of first over 2 processes: it is no chain of plain factors; leave that layer whole",
        ),
        ({"a": "bottleneck"}, "the bottleneck cut of a over 9 processes: one of its factors has 8 inputs"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_told(cuts: Cuts, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        roles_of(model(), cuts, 9 if "a" in cuts else 2)
