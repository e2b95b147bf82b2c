"""Words of one layer: what is counted on ranks is what the formulas say."""

from __future__ import annotations

import doctest
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import counting
from tnbench.distributed.functions import split
from tnbench.distributed.pool import RankPool
from tnbench.distributed.sharding.part import shard_chain
from tnbench.distributed.sharding.roles import roles
from tnbench.distributed.sharding.rows import Place, RowConvolutions
from tnbench.distributed.sharding.words import Words, layer_words, spatial_words
from tnbench.layers.chain import chain

BATCH, SIDE = 2, 8

Case = tuple[str, int, int, int, int]
"""Method, C_in, C_out, R, stride."""

CASES: list[Case] = [
    (method, inp, out, R, stride)
    for method in ("svd", "cp", "tucker2")
    for inp, out, R in ((16, 16, 4), (16, 24, 6), (9, 8, 5))
    for stride in (1, 2)
]


def layer(case: Case) -> nn.Sequential:
    method, inp, out, R, stride = case
    shapes = {
        "svd": [(R, inp, 3, 3), (out, R, 1, 1)],
        "cp": [(R, inp, 1, 1), (R, 1, 3, 1), (R, 1, 1, 3), (out, R, 1, 1)],
        "tucker2": [(R, inp, 1, 1), (R + 1, R, 3, 3), (out, R + 1, 1, 1)],
        "linear": [(R, inp), (out, R)],
    }[method]
    like = nn.Linear(inp, out) if method == "linear" else nn.Conv2d(inp, out, 3, stride=stride, padding=1)
    return chain([torch.ones(shape) for shape in shapes], like)


def channel_words(crew: Crew, *, cut: str) -> list[Words]:
    found = []
    for case in CASES:
        own, given = layer(case), roles(layer(case), crew.world, cut)
        assert not isinstance(given, str)
        shard_chain(own, given, None)
        whole = torch.ones(BATCH, case[1], SIDE, SIDE)
        x = (whole if cut == "rank" else split(whole, 1)).requires_grad_()
        with counting() as forward:
            y = own(x)
        with counting() as backward:
            y.sum().backward()
        found.append(Words(forward.words, backward.words))
    return found


def row_words(crew: Crew) -> list[Words]:
    found = []
    for case in CASES:
        x = split(torch.ones(BATCH, case[1], SIDE, SIDE), 2).requires_grad_()
        with counting() as forward:
            y = RowConvolutions(layer(case), Place(SIDE, None))(x)
        with counting() as backward:
            y.sum().backward()
        found.append(Words(forward.words, backward.words))
    return found


@pytest.mark.parametrize("cut", ["rank", "bottleneck", "bottleneck_split"])
def test_channel_cuts(cut: str, two_ranks: RankPool) -> None:
    for found in two_ranks.run(partial(channel_words, cut=cut)):
        assert found == [layer_words(layer(case), (case[1], SIDE, SIDE), BATCH, 2, cut) for case in CASES]


@pytest.mark.parametrize("pool", ["two_ranks", "four_ranks"])
def test_rows(pool: str, request: pytest.FixtureRequest) -> None:
    given = request.getfixturevalue(pool).run(row_words)
    for rank, found in enumerate(given):
        for case, words in zip(CASES, found, strict=True):
            halo = spatial_words(layer(case), (case[1], SIDE, SIDE), BATCH, len(given), rank)
            weights = sum(parameter.numel() for parameter in layer(case).parameters())
            assert words == (halo.forward, halo.backward + weights), (case, rank)
    for number, case in enumerate(CASES):
        most = layer_words(layer(case), (case[1], SIDE, SIDE), BATCH, len(given), "spatial")
        assert most == tuple(max(found[number][way] for found in given) for way in range(2))


def with_sides(case: Case, cut: str, ranks: int = 2) -> Words:
    return layer_words(layer(case).to("meta"), (case[1], SIDE, SIDE), BATCH, ranks, cut)


def test_formulas_in_closed_form() -> None:
    P = BATCH * SIDE**2
    for method in ("svd", "cp", "tucker2"):
        C_in, C_out, R = 16, 24, 6
        core_in, core_out = (R, R + 1) if method == "tucker2" else (R, R)
        case = (method, C_in, C_out, R, 1)
        entered = R if method == "tucker2" else C_in
        assert with_sides(case, "rank") == (C_out * P, entered * P)
        assert with_sides(case, "bottleneck") == (core_in * P, core_out * P)
    R, S = 6, 7
    assert with_sides(("tucker2", 16, 24, R, 1), "bottleneck_split") == ((R + 2 * 4) * P, (R + S) * P)
    assert with_sides(("tucker2", 16, 24, R, 2), "rank") == (24 * P // 4, R * P)
    halo = 2 * (3 // 2) * BATCH * SIDE
    assert spatial_words(layer(("tucker2", 16, 24, R, 1)), (16, SIDE, SIDE), BATCH, 4, 1) == (halo * R, halo * R)
    assert spatial_words(layer(("svd", 16, 24, R, 1)), (16, SIDE, SIDE), BATCH, 4, 1) == (halo * 16, halo * 16)


@pytest.mark.parametrize("method", ["svd", "cp"])
def test_at_stride_one_and_equal_channels_the_ratio_is_channels_to_rank(method: str) -> None:
    case = (method, 16, 16, 4, 1)
    assert with_sides(case, "rank").forward * 4 == with_sides(case, "bottleneck").forward * 16
    tucker2 = chain(
        [torch.ones(s) for s in [(4, 16, 1, 1), (4, 4, 3, 3), (16, 4, 1, 1)]], nn.Conv2d(16, 16, 3, padding=1)
    )
    words = [layer_words(tucker2, (16, SIDE, SIDE), BATCH, 2, cut).forward for cut in ("rank", "bottleneck")]
    assert math.isclose(words[0] / words[1], 16 / 4)


def test_linear_layers_and_a_single_rank() -> None:
    linear = layer(("linear", 16, 24, 6, 1))
    assert layer_words(linear, (16,), BATCH, 2, "rank") == (24 * BATCH, 16 * BATCH)
    assert layer_words(linear, (16,), BATCH, 2, "bottleneck") == (6 * BATCH, 6 * BATCH)
    assert layer_words(linear, (16,), BATCH, 1, "bottleneck") == (0, 0)


def test_what_stays_whole_is_refused() -> None:
    with pytest.raises(NotApplicable, match="whole on each rank: one of its factors has 4 outputs for 5 ranks"):
        layer_words(layer(("svd", 16, 16, 4, 1)), (16, 8, 8), 1, 5, "rank")
    with pytest.raises(NotApplicable, match="it is linear and has no rows"):
        layer_words(layer(("linear", 16, 16, 4, 1)), (16,), 1, 2, "spatial")


def test_numbers_in_the_documents_are_those_of_the_formulas() -> None:
    page = Path(__file__).parents[2] / "docs" / "model-parallel.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted >= 6
    assert found.failed == 0
