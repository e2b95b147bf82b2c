"""Tensor trains and rings of weights: against TensorLy, by hand, and where they do not apply."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Pixels, Stats
from tnbench.engine.applied import Functions, OnLayer
from tnbench.linalg import tt as trains
from tnbench.linalg.whitening import root_and_inverse
from tnbench.methods import _factored, tensor_ring, tt, tt_conv, tt_linear
from tnbench.testing import method_exports
from tnbench.testing import methods as kit

PIXELS = Pixels(100, 50, 20)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(method: Any, weight: Tensor, ranks: tuple[int, ...], options: Any) -> float:
    functions = Functions(method, options)
    factors = functions.factorise(weight, ranks, seed=0)
    assert sum(factor.numel() for factor in factors) == functions.count(tuple(weight.shape), ranks)
    return float(torch.dist(functions.dense(factors), weight) / weight.norm())


# ------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("size", "d", "wanted"),
    [(4096, 3, (16, 16, 16)), (25088, 5, (8, 8, 8, 7, 7)), (10, 3, (5, 2, 1)), (13, 2, (13, 1)), (1, 2, (1, 1))],
)
def test_balanced_factors(size: int, d: int, wanted: tuple[int, ...]) -> None:
    assert _factored.balanced(size, d) == wanted


def test_default_factors_have_no_pair_of_ones() -> None:
    assert _factored.pairs((9, 12), (), (), 3) == ((1, 3, 3), (3, 2, 2))
    assert _factored.pairs((7, 13), (), (), 3) == ((1, 7), (13, 1))
    assert _factored.pairs((64, 16), (4, 4), (), 3) == ((8, 8), (4, 4))
    assert [_factored.prime_factors(size) for size in (1, 2, 12, 13, 4096)] == [0, 1, 3, 1, 12]


def test_counts_of_a_tt_matrix() -> None:
    options = tt_linear.Options(inp=(5, 4, 3), out=(2, 3, 4))
    assert tt_linear.largest_ranks((24, 60), options=options) == (10, 12)
    assert tt_linear.count((24, 60), (6, 7), options=options) == 10 * 6 + 6 * 12 * 7 + 7 * 12
    assert tt_linear.useful_ranks((24, 60), (2, 40), options=options) == (2, 12)
    by_hand = 1 * 6 * 10 * 12 + 6 * 7 * 12 * 2 * 3 + 7 * 12 * 6
    assert tt_linear.macs((24, 60), (6, 7), Pixels(1, 1, 1), options=options) == by_hand


def test_counts_of_a_tt_convolution() -> None:
    options = tt_conv.Options(inp=(3, 2), out=(2, 4))
    assert tt_conv.largest_ranks((8, 6, 3, 5), options=options) == (15, 8)
    assert tt_conv.count((8, 6, 3, 5), (5, 3), options=options) == 15 * 5 + 5 * 6 * 3 + 3 * 8
    by_hand = 15 * 5 * 6 + 5 * 3 * 6 * 2 + 3 * 8 * 2
    assert tt_conv.macs((8, 6, 3, 5), (5, 3), PIXELS, options=options) == by_hand * 20


def test_counts_of_a_ring() -> None:
    options = tensor_ring.Options()
    assert tensor_ring.largest_ranks((64, 64, 3, 3), options=options) == (32, 32, 32)
    assert tensor_ring.count((8, 6, 3, 5), (2, 3, 4), options=options) == 2 * 6 * 3 + 3 * 15 * 4 + 4 * 8 * 2
    by_hand = 6 * 2 * 3 * 100 + (2 * 15 * 3 * 4 + 8 * 2 * 4) * 20
    assert tensor_ring.macs((8, 6, 3, 5), (2, 3, 4), PIXELS, options=options) == by_hand
    split = tensor_ring.Options(inp=(3, 2), out=(2, 4))
    assert tensor_ring.count((8, 6), (2, 5, 3, 4), options=split) == 2 * 3 * 5 + 5 * 2 * 3 + 3 * 2 * 4 + 4 * 4 * 2
    assert tensor_ring.macs((8, 6), (2, 5, 3, 4), Pixels(1, 1, 1), options=split) == 2 * (6 * 3 + 8 * 3)


def test_counts_of_a_train_in_one_and_three_dimensions() -> None:
    assert tt.count((8, 6, 5), (2, 3)) == 6 * 2 + 2 * 5 * 3 + 3 * 8
    assert tt.macs((8, 6, 5), (2, 3), Pixels(30, 10)) == 12 * 30 + (30 + 24) * 10
    assert tt.macs((8, 6, 3, 5, 2), (2, 3, 4, 5), Pixels(60, 50, 40, 30)) == (
        12 * 60 + 2 * 3 * 3 * 50 + 3 * 5 * 4 * 40 + (4 * 2 * 5 + 5 * 8) * 30
    )


# --------------------------------------------------------------------------------- against TensorLy, and exact


@pytest.mark.parametrize(
    ("method", "shape", "ranks", "options"),
    [
        (tt, (8, 6, 3, 3), (3, 5, 4), {}),
        (tt, (8, 6, 5), (3, 4), {}),
        (tt, (5, 4, 2, 3, 2), (3, 4, 5, 3), {}),
        (tt_linear, (24, 60), (6, 7), {"inp": (5, 4, 3), "out": (2, 3, 4)}),
        (tt_conv, (8, 6, 3, 3), (4, 5), {}),
    ],
)
def test_as_good_as_tensorly(method: Any, shape: tuple[int, ...], ranks: tuple[int, ...], options: Any) -> None:
    weight = drawn(*shape)
    ours, theirs = (
        error(method, weight, ranks, method.Options(**options, solver=name)) for name in ("gram", "tensorly")
    )
    assert ours <= 1.001 * theirs


def test_a_ring_is_better_than_tensorlys() -> None:
    weight = drawn(8, 6, 3, 3)
    als, svd, theirs = (
        error(tensor_ring, weight, (3, 3, 3), tensor_ring.Options(solver=solver))
        for solver in ("als", "svd", "tensorly")
    )
    assert als < 0.95 * svd
    assert svd == pytest.approx(theirs, rel=0.1)


@pytest.mark.parametrize("method", [tt, tt_linear, tt_conv, tensor_ring])
def test_planted_factors_are_found(method: Any) -> None:
    shape = (12, 30) if method is tt_linear else (8, 6, 3, 3)
    options = method.Options()
    functions = Functions(method, options)
    ranks = tuple(max(1, rank // 2) for rank in functions.largest_ranks(shape))
    ranks = (1, 4, 3) if method is tensor_ring else ranks
    planted = functions.dense(tuple(map(drawn_like, functions.factorise(drawn(*shape), ranks, seed=0))))
    assert error(method, planted, ranks, options) < 1e-8


def drawn_like(factor: Tensor) -> Tensor:
    return drawn(*factor.shape, seed=factor.numel())


SHAPES = st.one_of(
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    st.integers(1, 3).flatmap(lambda n: st.tuples(*(st.integers(1, 8) for _ in range(2)), *(st.integers(1, 3),) * n)),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([tt, tt_linear, tt_conv, tensor_ring]), SHAPES, st.integers(1, 4))
def test_any_shape_at_any_ranks(method: Any, shape: tuple[int, ...], part: int) -> None:
    """Sides of one, primes and single channels included: right counts, no error at the largest ranks, exact zeros."""
    if (len(shape) == 2) == (method is tt_conv) or (len(shape) > 2 and method is tt_linear):
        return
    options = method.Options(sweeps=3) if method is tensor_ring else method.Options()
    functions = Functions(method, options)
    largest = functions.largest_ranks(shape)
    ranks = tuple(max(1, rank * part // 4) for rank in largest)
    found = error(method, drawn(*shape), ranks, options)
    assert found < 1 + 1e-9
    if ranks == largest:
        assert found < 1e-9
    zeros = functions.factorise(torch.zeros(shape), ranks, seed=0)
    assert not functions.dense(zeros).any()


@pytest.mark.parametrize("method", [tt_linear, tt_conv])
def test_unfoldings_bound_the_error(method: Any) -> None:
    weight = drawn(12, 30) if method is tt_linear else drawn(8, 6, 3, 3)
    functions = Functions(method, method.Options())
    matrices = functions.unfoldings(weight)
    largest = functions.largest_ranks(tuple(weight.shape))
    assert tuple(min(matrix.shape) for matrix in matrices) == largest
    ranks = functions.useful_ranks(tuple(weight.shape), tuple(max(1, rank // 2) for rank in largest))
    tails = [torch.linalg.svdvals(matrix)[rank:].square().sum() for matrix, rank in zip(matrices, ranks, strict=True)]
    found = (error(method, weight, ranks, method.Options()) * float(weight.norm())) ** 2
    assert float(max(tails)) * (1 - 1e-9) <= found <= float(sum(tails)) * (1 + 1e-9)


def test_unfoldings_of_a_train_are_those_of_its_modes() -> None:
    weight = drawn(8, 6, 3, 5)
    assert [tuple(matrix.shape) for matrix in tt.unfoldings(weight)] == [(6, 120), (18, 40), (90, 8)]
    assert torch.equal(tt.unfoldings(drawn(4, 6))[0], drawn(4, 6).T)
    assert trains.useful_ranks((6, 3, 5, 8), (2, 40, 8)) == tt.useful_ranks((8, 6, 3, 5), (2, 40, 8))


# ------------------------------------------------------------------------------------------------ data-aware


@pytest.mark.parametrize("shape", [(8, 6, 3, 3), (8, 6, 5), (9, 12)])
def test_an_aware_train_has_the_smaller_error_in_the_metric_it_is_aware_of(shape: tuple[int, ...]) -> None:
    I, k = shape[1], int(torch.tensor(shape[2:]).prod())
    samples = drawn(200, I, 1, seed=1) * torch.logspace(0, -2, I, dtype=torch.float64)[:, None] + 0 * drawn(200, I, k)
    patches = samples.flatten(1).T @ samples.flatten(1) / 200 + 1e-3 * torch.eye(I * k, dtype=torch.float64)
    stats = Stats(patches, I, 1e-3, "")
    root, _ = root_and_inverse(stats.channel_moment)
    weight, ranks = drawn(*shape), {4: (3, 4, 4), 3: (3, 4), 2: (4,)}[len(shape)]

    def distance(aware: bool) -> float:
        options = tt.Options(aware=aware)
        gone = weight - tt.dense(tt.factorise(weight, ranks, seed=0, options=options, stats=stats))
        return float(torch.tensordot(gone, root, dims=([1], [0])).norm())

    assert tt.needs_stats(tt.Options(aware=True))
    assert distance(True) < 0.9 * distance(False)


def test_an_aware_train_without_stats_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="needs calibration pictures"):
        tt.factorise(drawn(8, 6, 3, 3), (2, 2, 2), seed=0, options=tt.Options(aware=True))


# --------------------------------------------------------------------------------- refusals and wrong options


@pytest.mark.parametrize(
    ("method", "layer", "options", "reason"),
    [
        (tt_linear, nn.Conv2d(4, 4, 3), {}, "it is a Conv2d, and tt_linear is for Linear layers; take tt or tt_conv"),
        (tt_linear, nn.Linear(60, 24), {"inp": (4, 5)}, "its 60 inputs are not 4x5 = 20"),
        (tt_conv, nn.Linear(60, 24), {}, "it is a Linear layer, which has no kernel; take tt_linear"),
        (tt_conv, nn.Conv2d(6, 8, 3), {"out": (3, 3)}, "its 8 outputs are not 3x3 = 9"),
        (tt_conv, nn.Conv2d(6, 8, 3, groups=2), {}, "it is a convolution of 2 groups, wanted one group"),
        (tensor_ring, nn.Conv2d(6, 8, 3), {"inp": (3, 3), "out": (2, 4)}, "its 6 inputs are not 3x3 = 9"),
    ],
)
def test_refusals(method: Any, layer: nn.Module, options: Any, reason: str) -> None:
    assert method.refuses(layer, options=method.Options(**options)) == reason


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (tt_linear, {"inp": (64,)}, "got inp = 64, wanted 2 or more factors"),
        (tt_linear, {"inp": (8, 8), "out": (4, 4, 4)}, "got 2 factors in inp and 3 in out, wanted as many"),
        (tt_linear, {"d": 1}, "got d = 1, wanted 2 or more"),
        (tt_conv, {"out": (4, 0)}, "got out = 4x0"),
        (tt_conv, {"d": 0}, "got d = 0, wanted 1 or more"),
        (tt_conv, {"inp": (8,), "out": (4, 4)}, "got 1 factors in inp and 2 in out"),
        (tensor_ring, {"inp": (8, 8)}, "got one of inp and out, wanted both or neither"),
        (tensor_ring, {"sweeps": 0}, "got sweeps = 0"),
    ],
)
def test_wrong_options(method: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        method.Options(**options)


def test_a_ring_too_large_for_least_squares_names_the_way_out() -> None:
    with pytest.raises(NotApplicable, match="got 4900 rank pairs in one core, wanted at most 4096; take solver=svd"):
        tensor_ring.factorise(drawn(90, 80, 3, 3), (70, 70, 3), seed=0, options=tensor_ring.Options())


@pytest.mark.parametrize(
    ("method", "options", "layer"),
    [
        (tt_linear, {"inp": (6, 2), "out": (3, 3)}, "linear"),
        (tt_linear, {"inp": (6, 2), "out": (3, 3), "solver": "tensorly"}, "linear"),
        (tt_conv, {"inp": (3, 1, 2), "out": (2, 2, 2)}, "3x3"),
        (tt_conv, {"solver": "tensorly"}, "3x3 stride (2,1)"),
        (tensor_ring, {"inp": (3, 2), "out": (2, 4), "solver": "svd"}, "3x3"),
        (tensor_ring, {"solver": "tensorly"}, "linear"),
        (tensor_ring, {"solver": "tensorly"}, "3x3"),
        (tt, {"solver": "tensorly"}, "3x2x3"),
    ],
)
def test_other_options_keep_the_contract(method: Any, options: Any, layer: str) -> None:
    for check in (*kit.GEOMETRY, *kit.ALGEBRA, method_exports.check_sequential, method_exports.check_bf16):
        check(method, method.Options(**options), kit.sample_layer(kit.LAYERS[layer]))


def test_a_ring_continues_from_smaller_factors() -> None:
    layer = kit.sample_layer(kit.LAYERS["3x3"])
    for solver in ("als", "svd"):
        target = OnLayer(Functions(tensor_ring, tensor_ring.Options(solver=solver)), "", layer)
        small = target.factorise((2, 2, 2), seed=0)
        large = target.factorise((3, 3, 3), seed=0, start=small)
        before, after = (float(torch.dist(target.dense(factors), target.weight)) for factors in (small, large))
        assert after <= before
