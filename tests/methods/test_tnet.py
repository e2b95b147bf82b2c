"""Kernels of one shape as one tensor: groups, figures worked out by hand, exact recovery, and ties."""

from dataclasses import replace
from typing import Any

import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Pixels
from tnbench.core.registry import Registry
from tnbench.methods import tnet
from tnbench.testing.group_methods import check_group_method

TUCKER, CP, TT = (tnet.Options(format=name, iters=30) for name in ("tucker", "cp", "tt"))
FORMATS = {"tucker": TUCKER, "cp": CP, "tt": TT}
SHAPE = (4, 8, 6, 3, 5)
PIXELS = Pixels(100, 50, 20)


def _drawn(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_it_keeps_the_contract_of_groups(options: tnet.Options) -> None:
    check_group_method(tnet, replace(options, iters=6))


def test_kernels_of_one_shape_form_a_group_in_a_stage_or_in_the_network() -> None:
    layers = {"conv1": nn.Conv2d(3, 4, 3), "layer1.0.conv1": nn.Conv2d(4, 4, 3), "layer1.0.conv2": nn.Conv2d(4, 4, 3)}
    layers |= {"layer2.0.conv1": nn.Conv2d(4, 8, 3, stride=2), "layer2.0.conv2": nn.Conv2d(4, 4, 3)}
    assert tnet.groups(layers, options=tnet.Options(scope="stage")) == {
        "conv1:4x3x3x3": ("conv1",),
        "layer1:4x4x3x3": ("layer1.0.conv1", "layer1.0.conv2"),
        "layer2:8x4x3x3": ("layer2.0.conv1",),
        "layer2:4x4x3x3": ("layer2.0.conv2",),
    }
    named = {"a.0": nn.Conv2d(4, 4, 3), "b.0": nn.Conv2d(4, 4, 3), "c": nn.Conv1d(4, 4, 3), "d": nn.Linear(4, 4)}
    assert tnet.groups(named, options=tnet.Options(scope="network")) == {
        "network:4x4x3x3": ("a.0", "b.0"),
        "network:4x4x3": ("c",),
        "network:4x4": ("d",),
    }


@pytest.mark.parametrize(
    ("options", "ranks", "weights", "macs"),
    [
        (TUCKER, (2, 3, 4), 4 * 2 + 6 * 4 + 2 * 3 * 4 * 15 + 8 * 3, 6 * 4 * 100 + (3 * 4 * 15 + 3 * 8) * 20),
        (CP, (7,), 7 * (4 + 8 + 6 + 3 + 5), 7 * (6 * 100 + 3 * 50 + 5 * 20 + 8 * 20)),
        (
            TT,
            (2, 5, 4, 3),
            4 * 2 + 2 * 6 * 5 + 5 * 3 * 4 + 4 * 5 * 3 + 3 * 8,
            6 * 5 * 100 + 5 * 3 * 4 * 50 + (4 * 5 * 3 + 3 * 8) * 20,
        ),
    ],
)
def test_counts(options: tnet.Options, ranks: tuple[int, ...], weights: int, macs: int) -> None:
    assert tnet.count(SHAPE, ranks, options=options) == weights
    assert tnet.macs(SHAPE, ranks, PIXELS, options=options) == macs


def test_counts_of_linear_layers() -> None:
    ones = Pixels.ones((9, 12))
    assert tnet.count((3, 9, 12), (2, 4, 5), options=TUCKER) == 3 * 2 + 12 * 5 + 2 * 4 * 5 + 9 * 4
    assert tnet.macs((3, 9, 12), (2, 4, 5), ones, options=TUCKER) == 12 * 5 + 4 * 5 + 9 * 4
    assert tnet.count((3, 9, 12), (4,), options=CP) == 4 * (3 + 9 + 12)
    assert tnet.macs((3, 9, 12), (4,), ones, options=CP) == 4 * (9 + 12)
    assert tnet.count((3, 9, 12), (2, 4), options=TT) == 3 * 2 + 2 * 12 * 4 + 4 * 9
    assert tnet.macs((3, 9, 12), (2, 4), ones, options=TT) == 12 * 4 + 4 * 9


def test_largest_ranks() -> None:
    assert tnet.largest_ranks(SHAPE, options=TUCKER) == (4, 8, 6)
    assert tnet.largest_ranks(SHAPE, options=CP) == (4 * 6 * 3 * 5,)
    assert tnet.largest_ranks(SHAPE, options=TT) == (4, 24, 40, 8)
    assert tnet.largest_ranks((1, 64, 3, 3, 3), options=TUCKER) == (1, 27, 3)
    assert tnet.largest_ranks((1, 8, 6, 3, 3), options=TT) == (1, 6, 18, 8)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["tucker", "tt"]), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_useful_ranks_settle_at_once_and_lose_nothing(name: str, ranks: list[int]) -> None:
    options = FORMATS[name]
    largest = tnet.largest_ranks(SHAPE, options=options)
    assert tnet.useful_ranks(SHAPE, largest, options=options) == largest
    some = tuple(min(rank, most) for rank, most in zip(ranks, largest, strict=False))
    useful = tnet.useful_ranks(SHAPE, some, options=options)
    assert tnet.useful_ranks(SHAPE, useful, options=options) == useful
    assert all(1 <= one <= other for one, other in zip(useful, some, strict=True))


def test_ranks_without_a_use_are_cut() -> None:
    assert tnet.useful_ranks((9, 8, 6, 1, 1), (7, 2, 3), options=TUCKER) == (6, 2, 3)
    assert tnet.useful_ranks(SHAPE, (1, 8, 40, 8), options=TT) == (1, 6, 18, 8)
    assert tnet.useful_ranks(SHAPE, (300,), options=CP) == (300,)


PLANTED: dict[str, tuple[tnet.Options, tuple[int, ...]]] = {
    "tucker": (TUCKER, (2, 3, 4)),
    "cp": (replace(CP, iters=400), (3,)),
    "tt": (TT, (2, 5, 4, 3)),
}


@pytest.mark.parametrize(
    "shape", [SHAPE, (3, 8, 6, 5), (3, 5, 4, 3, 2, 3), (3, 9, 12)], ids=["2d", "1d", "3d", "linear"]
)
@pytest.mark.parametrize(("options", "ranks"), PLANTED.values(), ids=PLANTED)
def test_a_planted_tensor_is_found_again(options: tnet.Options, ranks: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if options.format == "tt":
        ranks = (*ranks, 2)[: len(shape) - 1]
    shapes = tnet.factorise(_drawn(shape), ranks, seed=0, options=replace(options, iters=2))
    planted = tnet.dense(tuple(_drawn(tuple(f.shape), i) for i, f in enumerate(shapes)), options=options)
    found = tnet.factorise(planted, ranks, seed=0, options=options)
    error = float(torch.dist(tnet.dense(found, options=options), planted) / planted.norm())
    assert error < (1e-2 if options.format == "cp" else 1e-10)


def test_tucker_is_as_good_as_tensorlys() -> None:
    tensorly.set_backend("numpy")
    weight = _drawn((5, 8, 6, 3, 3))
    (core, factors), _ = partial_tucker(weight.numpy(), [3, 4, 4], modes=[0, 1, 2], tol=1e-8, n_iter_max=200)
    theirs = torch.as_tensor(tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1, 2]))
    ours = tnet.dense(tnet.factorise(weight, (3, 4, 4), seed=0, options=TUCKER), options=TUCKER)
    assert torch.dist(ours, weight) <= 1.01 * torch.dist(theirs, weight)


def test_layers_that_are_alike_cost_a_row_each() -> None:
    one = _drawn((1, 8, 6, 3, 3))
    weight = torch.cat([one, -2 * one, 0.5 * one])
    for options, ranks in ((TUCKER, (1, 8, 6)), (TT, (1, 6, 18, 8))):
        factors = tnet.factorise(weight, ranks, seed=0, options=options)
        assert torch.allclose(tnet.dense(factors, options=options), weight, atol=1e-10)
        alone = tnet.count((1, 8, 6, 3, 3), ranks, options=options)
        assert tnet.count((3, 8, 6, 3, 3), ranks, options=options) == alone + 2


def test_cp_goes_on_from_the_terms_before() -> None:
    weight = _drawn(SHAPE)
    before = tnet.factorise(weight, (6,), seed=0, options=CP)
    after = tnet.factorise(weight, (9,), seed=0, options=replace(CP, iters=1), start=before)
    errors = [float(torch.dist(tnet.dense(factors, options=CP), weight)) for factors in (before, after)]
    assert errors[1] <= errors[0]


@pytest.mark.parametrize(("options", "ranks"), [(TUCKER, (2, 3, 4)), (TT, (2, 5, 4, 3))], ids=["tucker", "tt"])
def test_what_spectra_leave_out_bounds_the_error(options: tnet.Options, ranks: tuple[int, ...]) -> None:
    weight = _drawn(SHAPE)
    tails = [
        torch.linalg.svdvals(matrix)[rank:].square().sum()
        for matrix, rank in zip(tnet.unfoldings(weight, options=options), ranks, strict=True)
    ]
    factors = tnet.factorise(weight, ranks, seed=0, options=options)
    squared = torch.dist(tnet.dense(factors, options=options), weight) ** 2
    assert max(tails) <= squared * (1 + 1e-9)
    assert squared <= sum(tails) * (1 + 1e-9)


def test_cp_has_no_spectra() -> None:
    with pytest.raises(NotApplicable, match="its rank cuts no unfolding; take the format tucker or tt"):
        tnet.unfoldings(_drawn(SHAPE), options=CP)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_are_kept(options: tnet.Options, dtype: torch.dtype) -> None:
    factors = tnet.factorise(_drawn(SHAPE, dtype=dtype), _half(options), seed=0, options=replace(options, iters=2))
    assert {factor.dtype for factor in factors} == {dtype}
    likes = [nn.Conv2d(6, 8, (3, 5), dtype=dtype) for _ in range(4)]
    assert tnet.layers(factors, likes, options=options)[1](torch.ones(1, 6, 9, 9, dtype=dtype)).dtype == dtype


def _half(options: tnet.Options) -> tuple[int, ...]:
    return tuple(max(1, rank // 2) for rank in tnet.largest_ranks(SHAPE, options=options))


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_zeros_stay_zeros(options: tnet.Options) -> None:
    factors = tnet.factorise(torch.zeros(SHAPE), _half(options), seed=0, options=options)
    assert not tnet.dense(factors, options=options).any()
    assert all(bool(factor.isfinite().all()) for factor in factors)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_shared_factors_are_one_parameter_and_rows_and_biases_are_not(options: tnet.Options) -> None:
    likes = [nn.Conv2d(6, 8, (3, 5), bias=index != 2).double() for index in range(4)]
    made = tnet.layers(_factors(likes, options), likes, options=options)
    for layer, like in zip(made, likes, strict=True):
        assert all(one is other for one, other in zip(layer.factors, made[0].factors, strict=True))
        assert (layer.bias is None) == (like.bias is None)
    assert len({id(layer.row) for layer in made}) == 4
    assert made[0].bias is not likes[0].bias


def _factors(likes: list[nn.Conv2d], options: tnet.Options) -> Any:
    weight = torch.stack([like.weight.detach() for like in likes])
    return tnet.factorise(weight, _half(options), seed=0, options=replace(options, iters=2))


def test_shared_factors_are_frozen_only_where_all_layers_are() -> None:
    likes = [nn.Conv2d(6, 8, (3, 5)).requires_grad_(index == 1) for index in range(4)]
    made = tnet.layers(_factors(likes, TUCKER), likes, options=TUCKER)
    assert [layer.row.requires_grad for layer in made] == [False, True, False, False]
    assert all(factor.requires_grad for factor in made[0].factors)
    likes[1].requires_grad_(False)
    made = tnet.layers(_factors(likes, TUCKER), likes, options=TUCKER)
    assert not any(parameter.requires_grad for layer in made for parameter in layer.parameters())


def test_grouped_convolutions_join_no_stack() -> None:
    assert tnet.refuses(nn.Conv2d(6, 8, 3, groups=2)) == "it is a convolution of 2 groups, wanted one group"
    assert tnet.refuses(nn.Conv3d(6, 8, 3)) is None


def test_options_that_mean_nothing() -> None:
    with pytest.raises(UsageError, match="got iters = 0, wanted a whole number from 1 on"):
        tnet.Options(iters=0)
    with pytest.raises(UsageError, match="the nearest is 'tucker'"):
        Registry().bind("method", parse_part("method", "tnet[format=tuker]")[0])
