"""Iterative compression: the ranks shrink step by step, and each step starts from what the last one trained."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tnbench.engine.applied import Functions
from tnbench.engine.parts import WeightPart
from tnbench.methods import svd, tucker2
from tnbench.training.iterative import between


def part(method: object, options: object, shape: tuple[int, ...], ranks: tuple[int, ...]) -> WeightPart:
    functions = Functions(method, options)
    largest, dense = functions.largest_ranks(shape), torch.Size(shape).numel()
    return WeightPart("a", "a", ("a",), ranks, largest, dense, shape, 1, False, functions, 0)


@pytest.mark.parametrize(
    "one",
    [part(svd, svd.Options(), (64, 32, 3, 3), (7,)), part(tucker2, tucker2.Options(), (64, 32, 3, 3), (8, 12))],
    ids=["svd", "tucker2"],
)
def test_ranks_go_from_as_many_weights_as_the_dense_layer_has_to_the_final_ones(one):
    path = [between(one, step / 4) for step in range(5)]
    assert path[-1] == one.ranks
    assert one.dense / 1.15 < one.count(path[0]) <= one.dense
    assert all(max(after) < max(before) for before, after in pairwise(path))
    shares = [one.count(after) / one.count(before) for before, after in pairwise(path)]
    assert max(shares) - min(shares) < 0.15


def test_ranks_that_save_nothing_are_taken_at_once():
    one = part(svd, svd.Options(), (8, 8), (7,))
    assert [between(one, done) for done in (0, 0.5, 1)] == [(7,)] * 3


def test_ranks_shrink_step_by_step_to_the_policys(digits):
    model, tools = digits.run("tucker2", "iterative", lr=0.02)
    once, *steps = tools.rank_path
    assert steps[-1] == once
    for layer in once:
        sums = [sum(ranks[layer]) for ranks in steps]
        assert sums[0] > sums[1] > sums[2]
    assert [kind for kind, _ in tools.phases] == ["decompose", *["decompose", "train"] * 3]
    assert model is tools.decompositions[-1].model


def test_each_step_decomposes_what_the_last_one_trained(digits):
    _, tools = digits.run("svd[only=conv2]", "iterative[steps=2]", lr=0.02)
    first, second = tools.decompositions[1:]
    expanded = second.swapped.targets["conv2"].weight
    trained = [dict(first.model.named_parameters())[name].detach() for name in first.names["conv2"]]
    assert torch.allclose(svd.dense(tuple(trained)), expanded, atol=1e-6)
    assert not torch.allclose(svd.dense(first.swapped.factors["conv2"]), expanded, atol=1e-6)
