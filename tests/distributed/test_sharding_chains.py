"""Which layers are chains, how their factors are cut, and what a replicated factor costs."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.distributed.sharding.caps import Macs, cap_note, chain_macs, relative_macs
from tnbench.distributed.sharding.chains import chains_of, factors, is_chain, whole_layers
from tnbench.distributed.sharding.roles import roles
from tnbench.distributed.sharding.shapes import sizes
from tnbench.layers.chain import chain
from tnbench.measure.counts import count_macs

CONVOLUTION = nn.Conv2d(8, 12, 3, stride=2, padding=1)

SHAPES = {
    "svd": [(4, 8, 3, 3), (12, 4, 1, 1)],
    "cp": [(4, 8, 1, 1), (4, 1, 3, 1), (4, 1, 1, 3), (12, 4, 1, 1)],
    "tucker2": [(4, 8, 1, 1), (6, 4, 3, 3), (12, 6, 1, 1)],
    "tt": [(4, 8, 1, 1), (6, 4, 3, 1), (5, 6, 1, 3), (12, 5, 1, 1)],
    "tkd_cpd": [(6, 8, 1, 1), (4, 6, 1, 1), (4, 1, 3, 3), (6, 4, 1, 1), (12, 6, 1, 1)],
}


def made(kind: str) -> nn.Sequential:
    return chain([torch.ones(shape) for shape in SHAPES[kind]], CONVOLUTION)


@pytest.mark.parametrize("kind", SHAPES)
def test_what_chain_makes_is_a_chain(kind: str) -> None:
    assert is_chain(made(kind))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 3, 1),
        nn.Sequential(nn.Conv2d(3, 4, 1, bias=False)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)),  # a bias between
        nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(5, 3, 1)),  # that do not fit
    ],
)
def test_what_is_no_chain(layer: nn.Module) -> None:
    assert not is_chain(layer)


def test_layers_have_the_names_that_the_network_gives_them() -> None:
    model = nn.Sequential(CONVOLUTION, made("cp"), nn.Sequential(nn.BatchNorm2d(12), made("svd")), nn.Linear(3, 3))
    assert list(chains_of(model)) == ["1", "2.1"]
    assert whole_layers(model, {"2.1"}) == ["0", "1", "3"]
    assert list(chains_of(made("svd"))) == [""]


CUT = {
    ("svd", "rank"): "outputs inputs",
    ("cp", "rank"): "outputs channels channels inputs",
    ("tucker2", "rank"): "whole outputs inputs",
    ("tt", "rank"): "whole whole outputs inputs",
    ("tkd_cpd", "rank"): "whole outputs channels inputs whole",
    ("svd", "bottleneck"): "inputs outputs",
    ("tucker2", "bottleneck"): "inputs whole outputs",
    ("tucker2", "bottleneck_split"): "inputs outputs outputs",
    ("cp", "bottleneck_split"): "inputs whole whole outputs",
}


@pytest.mark.parametrize(("kind", "cut"), CUT)
def test_which_part_of_each_factor_a_rank_has(kind: str, cut: str) -> None:
    given = roles(made(kind), 2, cut)
    assert not isinstance(given, str)
    assert " ".join(role.kind for role in given) == CUT[kind, cut]


@pytest.mark.parametrize(
    ("layer", "ranks", "cut", "says"),
    [
        (made("svd"), 5, "rank", "one of its factors has 4 outputs for 5 ranks"),
        (made("tucker2"), 9, "bottleneck", "one of its factors has 8 inputs for 9 ranks"),
        (made("tucker2"), 7, "bottleneck_split", "one of its factors has 6 outputs for 7 ranks"),
        (nn.Sequential(nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.Conv2d(8, 4, 1)), 2, "rank", "have groups"),
        (nn.Sequential(nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.Conv2d(8, 4, 1)), 2, "bottleneck", "has groups"),
        (nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 4, 1)), 2, "rank", "between two dense"),
    ],
)
def test_reasons_for_staying_whole(layer: nn.Module, ranks: int, cut: str, says: str) -> None:
    given = roles(layer, ranks, cut)
    assert isinstance(given, str)
    assert says in given


@pytest.mark.parametrize("kind", SHAPES)
def test_macs_from_sizes_are_those_that_are_counted(kind: str) -> None:
    layer = made(kind)
    assert sum(step.macs for step in sizes(layer, (8, 10, 10))) == count_macs(layer, (8, 10, 10))
    assert chain_macs(layer, (8, 10, 10), 2, "bottleneck").total == count_macs(layer, (8, 10, 10))


def test_sizes_want_the_shape_of_what_enters() -> None:
    with pytest.raises(ValueError, match="got 9 channels for a factor of 8"):
        sizes(made("svd"), (9, 4, 4))


def test_macs_of_a_layer_that_stays_whole_are_refused() -> None:
    with pytest.raises(NotApplicable, match="whole on each rank: one of its factors has 4 outputs for 5 ranks"):
        chain_macs(made("svd"), (8, 4, 4), 5, "rank")


def test_a_replicated_core_caps_the_speedup() -> None:
    dense = nn.Conv2d(256, 256, 3, padding=1)
    R = 64
    shapes = [(R, 256, 1, 1), (R, R, 3, 3), (256, R, 1, 1)]
    layer = chain([torch.ones(shape) for shape in shapes], dense)
    macs = chain_macs(layer, (256, 8, 8), 2, "bottleneck")
    core, rest = R * R * 9 * 64, 2 * 256 * R * 64
    assert macs == (core + rest, core)
    assert macs.speedup_cap() == pytest.approx((core + rest) / core)
    assert macs.speedup_cap(2) == pytest.approx((core + rest) / (core + rest / 2))
    assert chain_macs(layer, (256, 8, 8), 2, "bottleneck_split").replicated == 0
    assert "53% to 53%" in (cap_note({"conv": macs}) or "")
    assert "makes conv more than 1.89 times faster" in (cap_note({"conv": macs}) or "")


def test_without_sizes_positions_are_counted_by_strides() -> None:
    layer = made("tucker2")  # its core has the stride: a quarter of the positions for it and what follows
    given = roles(layer, 2, "rank")
    assert not isinstance(given, str)
    assert relative_macs(layer, given) == (32 + Fraction(6 * 4 * 9 + 12 * 6, 4), 32)
    assert cap_note({"none": Macs(10, 0)}) is None
    assert Macs(10, 0).speedup_cap() == float("inf")


def test_a_layer_alone_is_a_chain_of_one() -> None:
    assert factors(CONVOLUTION) == [CONVOLUTION]
