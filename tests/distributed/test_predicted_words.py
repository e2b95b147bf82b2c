"""Predicted words are those that the counters show: on two ranks, and on a process that is rank 0 of more."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench import compress
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.protocols import Crew
from tnbench.core.registry import Registry
from tnbench.distributed.collectives import counting
from tnbench.distributed.fake import counted_step
from tnbench.distributed.machine import LAYERS, Link, Machine, Rate
from tnbench.distributed.pool import RankPool
from tnbench.distributed.predict.step import DATA, MODEL, Prediction, predict_step

IN_SHAPE, BATCH = (3, 10, 8), 8
MACHINE = Machine(
    "synthetic", 2, 1, Link(1e-4, 1e-9), tuple(Rate(kind, 8, 1, 1, 1e-9, 1e-9) for kind in LAYERS), 1e-9, 1e-6
)


class Residual(nn.Module):
    """A small network with a branch, strides, BatchNorm and pooling."""

    def __init__(self, *, functions: bool = False) -> None:
        super().__init__()
        self.functions = functions
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.conv3 = nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(16)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(16, 12)
        self.fc2 = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to 5 scores."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.conv2(x))
        x = torch.relu(self.bn3(self.conv3(x)))
        x = x.mean((2, 3)) if self.functions else torch.flatten(self.pool(x), 1)
        return self.fc2(torch.relu(self.fc1(x)))


def network(method: str) -> nn.Module:
    torch.manual_seed(0)
    dense = Residual(functions=method == "functions")
    return dense if method in ("dense", "functions") else compress(dense, method, "x2").model


def counted_words(crew: Crew, *, model: nn.Module, cases: list[str]) -> list[dict[str, int]]:
    return [_counted(crew, model, text) for text in cases]


def _counted(crew: Crew, model: nn.Module, text: str) -> dict[str, int]:
    (atom,) = parse_part("parallel", text)
    bound = Registry().bind("parallel", atom)
    own = bound.module.spread(crew, None, bound.options)
    wrapped = own.wrap(copy.deepcopy(model).train())
    pictures = torch.ones(BATCH, *IN_SHAPE).tensor_split(own.data_world)[own.data_rank]
    for _ in range(2):  # the first step of DistributedDataParallel fills buckets in another order
        with counting() as counted:
            functional.cross_entropy(wrapped(pictures), torch.zeros(len(pictures), dtype=torch.int64)).backward()
    return {kind: counted.of(kind) for kind in {call.kind for call in counted.calls} if counted.of(kind)}


def most(ranks: list[dict[str, int]]) -> Mapping[str, int]:
    """Of the rank that gives most words."""
    return max(ranks, key=lambda words: sum(words.values()))


def predicted(model: nn.Module, text: str) -> Mapping[str, int]:
    found = predict_step(model, IN_SHAPE, BATCH, text, MACHINE)
    assert isinstance(found, Prediction), found
    return found.words_by_kind


COMPRESSED = ["rank_tp", "bottleneck_tp", "bottleneck_tp[core=split]", "spatial"]


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("dense", ["ddp[bn=sync]", "pipeline[microbatches=2]", "spatial"]),
        ("functions", ["spatial"]),
        ("tucker2", COMPRESSED),
        ("cp", COMPRESSED),
    ],
)
def test_on_two_ranks(two_ranks: RankPool, method: str, names: list[str]) -> None:
    check(two_ranks, 2, method, names)


@pytest.mark.parametrize("name", ["ddp", "ddp[bucket_mb=0.001]", "fsdp", *COMPRESSED[:-1]])
@pytest.mark.parametrize("ranks", [3, 4])
def test_of_rank_zero_of_more_ranks(name: str, ranks: int) -> None:
    """Uneven parts too: 3 ranks share 16 channels."""
    model, text = network("tucker2"), f"{name}:{ranks}"
    assert imitated(model, text) == predicted(model, text)


OTHER_VALUES = {
    "threads": "1",
    "bucket_mb": "0.001",
    "compress": "powersgd",
    "powersgd_rank": "2,compress=powersgd",
    "zero": "true",
    "bn": "sync",
    "core": "split",
    "microbatches": "3",
}
"""Of each option a value that is not its default, with what else it wants."""


def every_option() -> list[str]:
    """Each modelled plug-in with each of its options in turn. KeyError for an option that is new here."""
    names = {name: fields(Registry().bind("parallel", Atom(name, count=2)).options) for name in (*DATA, *MODEL)}
    return [f"{name}[{each.name}={OTHER_VALUES[each.name]}]:2" for name, own in names.items() for each in own]


@pytest.mark.parametrize("text", every_option())
def test_with_every_option_words_are_the_counted_ones_or_none_are_told(text: str) -> None:
    model = network("tucker2")
    found = predict_step(model, IN_SHAPE, BATCH, text, MACHINE)
    if isinstance(found, str):
        assert "compress=powersgd" in text, found
        assert "the cost model knows nothing of ddp's" in found
    else:
        assert imitated(model, text) == found.words_by_kind


@pytest.mark.parametrize("name", ["ddp", "ddp[bn=sync]", "ddp[zero=true]", "fsdp", "rank_tp"])
def test_of_a_network_whose_first_layers_are_frozen(name: str) -> None:
    model = network("tucker2")
    for layer in (model.conv1, model.bn1, model.conv2):
        layer.requires_grad_(False)
    assert imitated(model, f"{name}:2") == predicted(model, f"{name}:2")


@pytest.mark.parametrize(("name", "ranks"), [("spatial", 3), ("pipeline[microbatches=3]", 3)])
def test_of_the_rank_that_sends_most(name: str, ranks: int) -> None:
    """Which is an inner one: it sends to both sides."""
    model, text = network("dense"), f"{name}:{ranks}"
    assert most([imitated(model, text, rank) for rank in range(ranks)]) == predicted(model, text)


def imitated(model: nn.Module, text: str, rank: int = 0) -> dict[str, int]:
    """What one rank counts in a process that stands for all."""
    (atom,) = parse_part("parallel", text)
    bound, ranks = Registry().bind("parallel", atom), atom.count or 1
    counted = counted_step(model, IN_SHAPE, BATCH, bound.module, ranks, bound.options, rank=rank)
    return {kind: counted.of(kind) for kind in {call.kind for call in counted.calls} if counted.of(kind)}


def check(pool: RankPool, ranks: int, method: str, names: list[str]) -> None:
    model, cases = network(method), [f"{name}:{ranks}" for name in names]
    counted = pool.run(partial(counted_words, model=model, cases=cases))
    got = {text: most([rank[place] for rank in counted]) for place, text in enumerate(cases)}
    assert got == {text: predicted(model, text) for text in cases}
