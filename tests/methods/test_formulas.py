"""Counts against figures worked out by hand, and the ranks that neighbours leave a use for."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from tnbench.core.protocols import Pixels
from tnbench.methods import cp, dense, svd, tt, tucker2

SHAPE = (8, 6, 3, 5)
PIXELS = Pixels(100, 50, 20)


@pytest.mark.parametrize(
    ("method", "ranks", "weights", "macs"),
    [
        (dense, (), 720, 720 * 20),
        (svd, (4,), 4 * (90 + 8), 4 * 98 * 20),
        (tucker2, (2, 3), 6 * 2 + 2 * 3 * 15 + 3 * 8, 12 * 100 + (90 + 24) * 20),
        (tt, (2, 4, 3), 6 * 2 + 2 * 4 * 3 + 4 * 3 * 5 + 3 * 8, 12 * 100 + 24 * 50 + (60 + 24) * 20),
        (cp, (7,), 7 * (6 + 3 + 5 + 8), 7 * (6 * 100 + 3 * 50 + 5 * 20 + 8 * 20)),
    ],
)
def test_counts_of_a_convolution(method: Any, ranks: tuple[int, ...], weights: int, macs: int) -> None:
    assert method.count(SHAPE, ranks) == weights
    assert method.macs(SHAPE, ranks, PIXELS) == macs


@pytest.mark.parametrize("method", [svd, tucker2, tt, cp])
def test_a_linear_layer_becomes_two_whatever_the_method(method: Any) -> None:
    assert method.largest_ranks((10, 84)) == (10,)
    assert method.count((10, 84), (3,)) == 3 * 94
    assert method.macs((10, 84), (3,), Pixels(1, 1, 1)) == 3 * 94


def test_largest_ranks_of_a_convolution() -> None:
    assert svd.largest_ranks(SHAPE) == (8,)
    assert tucker2.largest_ranks(SHAPE) == (6, 8)
    assert tucker2.largest_ranks((64, 1, 3, 3)) == (1, 9)
    assert tt.largest_ranks(SHAPE) == (6, 18, 8)
    assert cp.largest_ranks(SHAPE) == (90,)


@pytest.mark.parametrize("method", [tucker2, tt])
@pytest.mark.parametrize("shape", [(8, 6, 3, 3), (64, 1, 3, 3), (3, 40, 1, 1), (2, 7, 1, 5)])
def test_useful_ranks_settle_at_once_and_keep_the_largest(method: Any, shape: tuple[int, ...]) -> None:
    largest = method.largest_ranks(shape)
    assert method.useful_ranks(shape, largest) == largest
    for ranks in product(*(range(1, rank + 1, 2) for rank in largest)):
        useful = method.useful_ranks(shape, ranks)
        assert method.useful_ranks(shape, useful) == useful
        assert all(one <= other for one, other in zip(useful, ranks, strict=True))


def test_ranks_without_a_use_are_cut() -> None:
    assert tucker2.useful_ranks((64, 3, 3, 3), (1, 12)) == (1, 9)
    assert tt.useful_ranks((16, 16, 3, 3), (4, 14, 4)) == (4, 12, 4)
    weight = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    factors = tt.factorise(weight, (4, 14, 4), seed=0, options=tt.Options())
    assert [tuple(factor.shape) for factor in factors] == [(4, 16, 1, 1), (12, 4, 3, 1), (4, 12, 1, 3), (16, 4, 1, 1)]


def test_cp_beyond_its_largest_rank_is_exact_and_keeps_its_count() -> None:
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    factors = cp.factorise(weight, (40,), seed=0, options=cp.Options())
    assert sum(factor.numel() for factor in factors) == cp.count((5, 4, 3, 3), (40,))
    assert torch.allclose(cp.dense(factors), weight, atol=1e-6)


def test_cp_of_another_seed_differs_where_columns_are_drawn() -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    one, two = (cp.factorise(weight, (8,), seed=seed, options=cp.Options(iters=3)) for seed in (0, 1))
    assert not torch.equal(one[0], two[0])


def test_depthwise_factors_of_cp_are_depthwise_convolutions() -> None:
    like = nn.Conv2d(4, 6, 3, padding=1)
    factors = cp.factorise(like.weight.detach(), (5,), seed=0, options=cp.Options(iters=2))
    assert [layer.groups for layer in cp.layer(factors, like)] == [1, 5, 5, 1]
