"""CP in four modes and in three: counts, shapes of factors, sides of 1, awareness of data, diagnosis."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Pixels, Stats
from tnbench.linalg.cp import cp_dense
from tnbench.methods import cp, cp3

BOTH = pytest.mark.parametrize("method", [cp, cp3])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(*shape: int, rank: int) -> Tensor:
    return cp_dense([drawn(side, rank, seed=mode) for mode, side in enumerate(shape)])


def relative(wanted: Tensor, got: Tensor) -> float:
    return float(torch.dist(wanted, got) / wanted.norm())


@pytest.mark.parametrize(
    ("shape", "pixels", "weights", "macs"),
    [
        ((8, 6), Pixels(1, 1, 1), 14, 14),
        ((8, 6, 5), Pixels(50, 20), 6 + 5 + 8, 6 * 50 + 13 * 20),
        ((8, 6, 3, 5), Pixels(100, 50, 20), 6 + 15 + 8, 6 * 100 + 23 * 20),
        ((8, 6, 3, 5, 2), Pixels(100, 50, 20, 10), 6 + 30 + 8, 6 * 100 + 38 * 10),
    ],
)
def test_counts_of_cp3(shape: tuple[int, ...], pixels: Pixels, weights: int, macs: int) -> None:
    assert cp3.count(shape, (7,)) == 7 * weights
    assert cp3.macs(shape, (7,), pixels) == 7 * macs


def test_counts_of_cp_in_one_and_three_dimensions() -> None:
    assert cp.count((8, 6, 5), (2,)) == 2 * (6 + 5 + 8)
    assert cp.macs((8, 6, 5), (2,), Pixels(50, 20)) == 2 * (6 * 50 + 13 * 20)
    assert cp.count((8, 6, 3, 5, 2), (2,)) == 2 * (6 + 10 + 8)
    wanted = 2 * (6 * 100 + 3 * 50 + 5 * 20 + 2 * 10 + 8 * 10)
    assert cp.macs((8, 6, 3, 5, 2), (2,), Pixels(100, 50, 20, 10)) == wanted


def test_largest_ranks() -> None:
    assert cp3.largest_ranks((8, 6, 3, 5)) == (48,)
    assert cp3.largest_ranks((64, 3, 3, 3)) == (27,)
    assert cp3.largest_ranks((10, 84)) == (10,)
    assert cp.largest_ranks((8, 6, 3, 5, 2)) == (180,)


@pytest.mark.parametrize(
    ("method", "shape", "sides"),
    [
        (cp, (8, 6, 5), [(3, 6, 1), (3, 1, 5), (8, 3, 1)]),
        (cp, (8, 6, 3, 5), [(3, 6, 1, 1), (3, 1, 3, 1), (3, 1, 1, 5), (8, 3, 1, 1)]),
        (
            cp,
            (8, 6, 3, 5, 2),
            [(3, 6, 1, 1, 1), (3, 1, 3, 1, 1), (3, 1, 1, 5, 1), (3, 1, 1, 1, 2), (8, 3, 1, 1, 1)],
        ),
        (cp3, (8, 6), [(3, 6), (8, 3)]),
        (cp3, (8, 6, 5), [(3, 6, 1), (3, 1, 5), (8, 3, 1)]),
        (cp3, (8, 6, 3, 5), [(3, 6, 1, 1), (3, 1, 3, 5), (8, 3, 1, 1)]),
        (cp3, (8, 6, 3, 5, 2), [(3, 6, 1, 1, 1), (3, 1, 3, 5, 2), (8, 3, 1, 1, 1)]),
    ],
)
def test_factors_are_a_chain(method: Any, shape: tuple[int, ...], sides: list[tuple[int, ...]]) -> None:
    weight = drawn(*shape)
    factors = method.factorise(weight, (3,), seed=0, options=method.Options(iters=3))
    assert [tuple(factor.shape) for factor in factors] == sides
    assert method.dense(factors).shape == weight.shape


@pytest.mark.parametrize("solver", ["als", "tensorly"])
@pytest.mark.parametrize(
    ("method", "shape"), [(cp, (12, 10, 5)), (cp, (12, 10, 3, 3)), (cp, (9, 8, 3, 3, 3)), (cp3, (12, 10, 5))]
)
def test_planted_terms_are_found_by_both_solvers(method: Any, shape: tuple[int, ...], solver: str) -> None:
    weight = planted(*shape, rank=3)
    factors = method.factorise(weight, (3,), seed=0, options=method.Options(solver=solver))
    assert relative(weight, method.dense(factors)) < 1e-3


@pytest.mark.parametrize("solver", ["als", "tensorly"])
def test_planted_terms_of_merged_offsets_are_found(solver: str) -> None:
    weight = planted(12, 10, 9, rank=3).reshape(12, 10, 3, 3)
    factors = cp3.factorise(weight, (3,), seed=0, options=cp3.Options(solver=solver))
    assert relative(weight, cp3.dense(factors)) < 1e-3


def test_cp3_needs_fewer_terms_than_cp() -> None:
    weight = drawn(16, 12, 3, 3)
    three, four = (
        relative(weight, method.dense(method.factorise(weight, (10,), seed=0, options=method.Options())))
        for method in (cp3, cp)
    )
    assert three < four


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(1, 5), st.booleans())
def test_sides_of_one_are_no_hindrance(shape: list[int], rank: int, merged: bool) -> None:
    method: Any = cp3 if merged else cp
    weight, options = drawn(*shape), method.Options(iters=4)
    factors = method.factorise(weight, (rank,), seed=0, options=options)
    assert sum(factor.numel() for factor in factors) == method.count(tuple(shape), (rank,))
    assert all(bool(factor.isfinite().all()) for factor in factors)
    more = method.factorise(weight, (rank + 1,), seed=0, options=options, start=factors)
    assert relative(weight, method.dense(more)) <= relative(weight, method.dense(factors)) + 1e-5
    largest = method.factorise(weight, method.largest_ranks(tuple(shape)), seed=0, options=options)
    assert relative(weight, method.dense(largest)) < 1e-5


@BOTH
@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 1, 1), (12, 1, 7, 1), (12, 9, 1)])
def test_what_is_a_matrix_gets_its_best_terms(method: Any, shape: tuple[int, ...]) -> None:
    weight = drawn(*shape)
    R = 4
    factors = method.factorise(weight, (R,), seed=0, options=method.Options())
    values = torch.linalg.svdvals(weight.reshape(12, -1))
    wanted = float(values[R:].norm() / values.norm())
    assert relative(weight, method.dense(factors)) == pytest.approx(wanted, rel=1e-4)


def stats_of(channels: int, offsets: int, seed: int = 0) -> Stats:
    side = channels * offsets
    mixed = torch.randn(side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled = mixed * torch.logspace(0, -2, side, dtype=torch.float64)[:, None]
    return Stats(
        patches=scaled @ scaled.T + 1e-4 * torch.eye(side, dtype=torch.float64),
        channels=channels,
        ridge=1e-4,
        digest="drawn",
    )


@BOTH
@pytest.mark.parametrize("shape", [(12, 8), (12, 8, 1, 1), (12, 8, 3, 3), (12, 8, 3)])
def test_awareness_lowers_the_weighted_error(method: Any, shape: tuple[int, ...]) -> None:
    weight, offsets = drawn(*shape).double(), int(torch.tensor(shape[2:]).prod())
    stats = stats_of(8, offsets)

    def output_error(aware: bool) -> float:
        options = method.Options(aware=aware)
        factors = method.factorise(weight, (4,), seed=0, options=options, stats=stats)
        apart = (weight - method.dense(factors)).movedim(1, -1).reshape(-1, 8)
        return float(torch.einsum("ni,ij,nj->", apart, stats.channel_moment, apart))

    assert output_error(True) < output_error(False)


@BOTH
def test_awareness_without_pictures_is_refused(method: Any) -> None:
    options = method.Options(aware=True)
    assert method.needs_stats(options)
    assert not method.needs_stats(method.Options())
    with pytest.raises(NotApplicable, match="aware=true needs calibration pictures"):
        method.factorise(drawn(4, 4, 3, 3), (2,), seed=0, options=options)


@BOTH
def test_an_aware_start_is_carried_on(method: Any) -> None:
    weight, stats, options = drawn(12, 8, 3, 3), stats_of(8, 9), method.Options(aware=True, iters=2)

    def weighted_error(factors: Any) -> float:
        apart = (weight - method.dense(factors)).double().movedim(1, -1).reshape(-1, 8)
        return float(torch.einsum("ni,ij,nj->", apart, stats.channel_moment, apart))

    few = method.factorise(weight, (6,), seed=0, options=options, stats=stats)
    more = method.factorise(weight, (7,), seed=1, options=options, stats=stats, start=few)
    assert weighted_error(more) <= weighted_error(few) * (1 + 1e-4)


@BOTH
def test_no_sweeps_are_refused(method: Any) -> None:
    name = method.__name__.rpartition(".")[2]
    with pytest.raises(UsageError, match=f"method {name}: got iters = 0, wanted a whole number from 1 on"):
        method.Options(iters=0)


@BOTH
def test_diagnosis_of_terms_that_cancel(method: Any) -> None:
    weight = planted(6, 5, 3, 3, rank=1) if method is cp else planted(6, 5, 9, rank=1).reshape(6, 5, 3, 3)
    single = method.factorise(weight, (1,), seed=0, options=method.Options())
    calm = method.diagnose(single)
    assert calm["cancellation"] == pytest.approx(1)
    assert calm["congruence"] == 0
    # Twice the term and once its opposite.
    *heads, out = single
    doubled = (*(torch.cat([head, head]) for head in heads), torch.cat([2 * out, -out], dim=1))
    assert torch.allclose(method.dense(doubled), method.dense(single), atol=1e-5)
    wild = method.diagnose(doubled)
    assert wild["cancellation"] == pytest.approx(3, rel=1e-4)
    assert wild["congruence"] == pytest.approx(1)
    assert wild["sensitivity"] > calm["sensitivity"]


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_solved_in_full(method: Any, dtype: torch.dtype) -> None:
    weight = drawn(8, 6, 3, 3).to(dtype)
    factors = method.factorise(weight, (12,), seed=0, options=method.Options(iters=5))
    assert {factor.dtype for factor in factors} == {dtype}
    precise = method.factorise(weight.float(), (12,), seed=0, options=method.Options(iters=5))
    assert relative(method.dense(precise), method.dense(factors).float()) < 0.05


@pytest.mark.parametrize("like", [nn.Conv1d(6, 8, 3, 2, 1), nn.Conv3d(6, 8, (3, 2, 3), (1, 2, 1))])
@BOTH
def test_layers_in_one_and_three_dimensions(method: Any, like: Any) -> None:
    weight = like.weight.detach()
    largest = method.largest_ranks(tuple(weight.shape))
    factors = method.factorise(weight, largest, seed=0, options=method.Options())
    picture = drawn(2, 6, *(7 for _ in like.kernel_size))
    assert torch.allclose(method.layer(factors, like)(picture), like(picture), atol=1e-4)
