import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.tensor_ring import (
    best_split,
    contract,
    exact_split,
    largest_ranks,
    padded,
    relative_error,
    ring_als,
    ring_best_svd,
    ring_svd,
    widened,
)

SIZES = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def drawn(sizes: tuple[int, ...], ranks: tuple[int, ...], seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    around = (*ranks, ranks[0])
    return tuple(
        torch.randn(around[j], size, around[j + 1], generator=generator, dtype=torch.float64)
        for j, size in enumerate(sizes)
    )


def test_entries_are_traces() -> None:
    one, two, three = drawn((3, 4, 2), (2, 3, 2))
    whole = contract((one, two, three))
    assert whole.shape == (3, 4, 2)
    assert float(whole[2, 1, 0]) == pytest.approx(float((one[:, 2] @ two[:, 1] @ three[:, 0]).trace()))


@settings(max_examples=25, deadline=None)
@given(SIZES)
def test_largest_ranks_reproduce_every_tensor(sizes: tuple[int, ...]) -> None:
    tensor = torch.randn(sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ranks = largest_ranks(sizes)
    assert error(tensor, contract(ring_best_svd(tensor, ranks))) < 1e-12
    fewer = tuple(rank - 1 for rank in ranks)
    assert exact_split(sizes, fewer) is None


def test_exact_split_shares_the_first_rank() -> None:
    assert largest_ranks((64, 9, 64)) == (32, 32, 32)
    assert exact_split((64, 9, 64), (32, 32, 32)) == (32, 2)
    assert exact_split((13, 9, 8), largest_ranks((13, 9, 8))) == (13, 1)


def test_ranks_above_the_first_unfolding_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"got r0 r1 = 12, wanted at most 6"):
        ring_svd(trained_like(6, 9, 8), (3, 4, 2))


@pytest.mark.parametrize("ranks", [(2, 3, 5), (3, 2, 8), (1, 6, 4)])
def test_svd_agrees_with_tensorly(ranks: tuple[int, int, int]) -> None:
    tensor = trained_like(6, 9, 8)
    ours, theirs = (relative_error(tensor, solve(tensor, ranks)) for solve in (ring_svd, with_tensorly.tensor_ring))
    # Where r0 > 1, what is cut next depends on the signs of singular vectors, which are free.
    assert ours == pytest.approx(theirs, rel=1e-8 if ranks[0] == 1 else 0.2)


def test_a_planted_train_is_found_by_both() -> None:
    tensor = contract(drawn((6, 5, 7), (1, 3, 2)))
    for solve in (ring_svd, with_tensorly.tensor_ring):
        assert error(tensor, contract(solve(tensor, (1, 3, 2)))) < 1e-12


def test_the_best_split_is_no_worse_than_any_other() -> None:
    tensor = trained_like(16, 9, 16)
    ranks = (4, 4, 6)
    best = relative_error(tensor, ring_best_svd(tensor, ranks))
    others = [relative_error(tensor, ring_svd(tensor, (min(4, 16 // one), one, 6))) for one in (1, 2, 3, 4)]
    assert best == pytest.approx(min(others))
    assert relative_error(tensor, ring_svd(tensor, (*best_split(tensor, ranks), 6))) == pytest.approx(best)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), st.integers(1, 4), st.integers(0, 3))
def test_als_never_raises_the_error(sizes: tuple[int, ...], rank: int, seed: int) -> None:
    tensor = torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    cores = drawn(sizes, (rank,) * len(sizes), seed)
    errors = [relative_error(tensor, cores)]
    for _ in range(6):
        cores = ring_als(tensor, cores, max_sweeps=1)
        errors.append(relative_error(tensor, cores))
    assert all(math.isfinite(one) for one in errors)
    assert all(after <= before + 1e-7 for before, after in pairwise(errors))


@pytest.mark.parametrize("seed", [0, 1])
def test_als_is_no_worse_than_tensorlys(seed: int) -> None:
    tensor, ranks = trained_like(16, 9, 16, seed=seed), (4, 4, 4)
    start = ring_best_svd(tensor, ranks)
    ours = relative_error(tensor, ring_als(tensor, start, tolerance=1e-5, max_sweeps=200))
    theirs = min(relative_error(tensor, with_tensorly.tensor_ring_als(tensor, ranks, seed=draw)) for draw in range(2))
    assert ours <= 1.001 * theirs
    assert ours < 0.8 * relative_error(tensor, start)


def test_als_finds_a_planted_ring_that_no_svd_does() -> None:
    tensor = contract(drawn((8, 9, 8), (2, 2, 2)))
    start = ring_best_svd(tensor, (2, 2, 2))
    assert relative_error(tensor, start) > 0.1
    assert relative_error(tensor, ring_als(tensor, start, max_sweeps=200, tolerance=1e-9)) < 1e-4


def test_wider_and_padded_rings_are_the_same_tensor() -> None:
    cores = drawn((4, 3, 5, 2), (2, 3, 1, 2))
    for ranks in ((2, 3, 1, 2), (3, 5, 4, 2), (4, 4, 4, 4)):
        for other in (padded(cores, ranks), widened(cores, ranks, seed=1)):
            assert tuple(core.shape[0] for core in other) == ranks
            assert error(contract(cores), contract(other)) < 1e-14
    assert torch.equal(widened(cores, (4, 4, 4, 4), seed=1)[0], widened(cores, (4, 4, 4, 4), seed=1)[0])


def test_als_uses_what_a_wider_ring_offers() -> None:
    tensor = trained_like(8, 9, 8)
    small = ring_als(tensor, ring_best_svd(tensor, (2, 2, 2)))
    large = ring_als(tensor, widened(small, (4, 4, 4), seed=0))
    assert relative_error(tensor, large) < 0.5 * relative_error(tensor, small)


def test_zeros_and_equal_slices() -> None:
    zeros = torch.zeros(4, 3, 5, dtype=torch.float64)
    cores = ring_als(zeros, ring_best_svd(zeros, (2, 2, 2)))
    assert not contract(cores).any()
    same = torch.ones(4, 3, 5, dtype=torch.float64)
    assert relative_error(same, ring_als(same, ring_best_svd(same, (2, 2, 2)))) < 1e-9
