from itertools import pairwise
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.cp import balanced, cp_als, cp_dense, cp_exact, gathered
from tnbench.linalg.cp_diagnostics import cancellation


def contract(columns: tuple[Tensor, ...]) -> Tensor:
    return torch.einsum("or,ir,hr,wr->oihw", *columns)


@pytest.mark.parametrize(("shape", "rank"), [((32, 16, 3, 3), 8), ((32, 16, 3, 3), 30), ((16, 8, 5, 5), 12)])
def test_median_error_is_at_most_tensorlys(shape: tuple[int, ...], rank: int) -> None:
    tensor = trained_like(*shape)
    ours = [error(tensor, contract(cp_als(tensor, rank, seed=seed))) for seed in range(5)]
    theirs = [error(tensor, contract(with_tensorly.cp(tensor, rank, seed=seed))) for seed in range(5)]
    assert median(ours) <= 1.01 * median(theirs)


def test_terms_that_are_there_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = tuple(torch.randn(side, 4, generator=generator, dtype=torch.float64) for side in (12, 10, 5, 5))
    tensor = contract(columns)
    assert error(tensor, contract(cp_als(tensor, 4, seed=0))) < 1e-3


def test_a_warm_start_never_ends_above_its_beginning() -> None:
    tensor = trained_like(12, 8, 3, 3)
    start, last = None, 1.0
    for rank in (2, 3, 5, 8, 13, 21, 34):
        start = cp_als(tensor, rank, seed=rank, start=start, max_sweeps=3)
        reached = error(tensor, contract(start))
        assert reached <= last * (1 + 1e-9)
        last = reached


def test_more_sweeps_never_raise_the_error() -> None:
    tensor = trained_like(12, 8, 3, 3)
    errors = [error(tensor, contract(cp_als(tensor, 9, seed=0, max_sweeps=n, tolerance=0))) for n in range(1, 40)]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(errors))


def test_it_stops_where_nothing_is_gained() -> None:
    tensor = trained_like(12, 8, 3, 3)
    stopped, pressed = (cp_als(tensor, 9, seed=0, max_sweeps=60, tolerance=tolerance) for tolerance in (1e-1, 0.0))
    assert not torch.equal(stopped[0], pressed[0])
    assert error(tensor, contract(pressed)) <= error(tensor, contract(stopped))


@pytest.mark.parametrize("shape", [(7, 4, 3, 3), (4, 9, 3, 2), (2, 2, 5, 1)])
@pytest.mark.parametrize("beyond", [0, 3])
def test_exact_terms_reproduce_the_tensor(shape: tuple[int, ...], beyond: int) -> None:
    tensor = trained_like(*shape)
    rank = tensor.numel() // max(shape) + beyond
    columns = cp_exact(tensor, rank)
    assert [tuple(matrix.shape) for matrix in columns] == [(side, rank) for side in shape]
    assert error(tensor, contract(columns)) < 1e-12


def test_balanced_terms_have_equal_norms_in_every_mode() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randn(side, 3, generator=generator, dtype=torch.float64) * side for side in (5, 4, 3, 2)]
    even = balanced(columns)
    norms = torch.stack([matrix.norm(dim=0) for matrix in even])
    assert torch.allclose(norms, norms[:1].expand_as(norms))
    assert torch.allclose(contract(even), contract(tuple(columns)))


def test_a_kernel_of_zeros_stays_zeros() -> None:
    assert not any(matrix.any() for matrix in cp_als(torch.zeros(4, 3, 3, 3, dtype=torch.float64), 5, seed=0))


def planted(*sides: int, rank: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return cp_dense([torch.randn(side, rank, generator=generator, dtype=torch.float64) for side in sides])


@pytest.mark.parametrize("sides", [(20, 15, 9), (8, 7, 6, 5), (7, 6, 5, 4, 3), (12, 10)])
def test_planted_terms_are_found_in_any_number_of_modes_as_by_tensorly(sides: tuple[int, ...]) -> None:
    tensor = planted(*sides, rank=4)
    ours = cp_als(tensor, 4, seed=0)
    theirs = with_tensorly.cp(tensor, 4, seed=0)
    assert error(tensor, cp_dense(ours)) < 1e-5
    assert error(tensor, cp_dense(ours)) <= error(tensor, cp_dense(theirs)) + 1e-5


def test_planted_terms_come_back_one_by_one() -> None:
    generator = torch.Generator().manual_seed(3)
    wanted = [torch.randn(side, 5, generator=generator, dtype=torch.float64) for side in (14, 12, 9)]
    found = cp_als(cp_dense(wanted), 5, seed=0)
    cosines = torch.ones(5, 5, dtype=torch.float64)
    for one, other in zip(wanted, found, strict=True):
        cosines *= (one / one.norm(dim=0)).T @ (other / other.norm(dim=0))
    assert torch.allclose(cosines.max(dim=1).values, torch.ones(5, dtype=torch.float64), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(1, 7), st.integers(0, 9))
def test_any_shape_and_rank_gives_finite_terms_below_the_tensor_itself(sides: list[int], rank: int, seed: int) -> None:
    tensor = torch.randn(*sides, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    columns = cp_als(tensor, rank, seed=seed, max_sweeps=12)
    assert [tuple(matrix.shape) for matrix in columns] == [(side, rank) for side in sides]
    assert all(bool(matrix.isfinite().all()) for matrix in columns)
    assert error(tensor, cp_dense(columns)) <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 4), st.integers(0, 4), st.integers(0, 9))
def test_a_start_of_fewer_terms_is_never_worsened(sides: list[int], rank: int, more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(*sides, generator=generator, dtype=torch.float64)
    start = tuple(torch.randn(side, rank, generator=generator, dtype=torch.float64) for side in sides)
    reached = cp_als(tensor, rank + more, seed=seed, start=start, max_sweeps=5)
    assert error(tensor, cp_dense(reached)) <= error(tensor, cp_dense(start)) * (1 + 1e-9) + 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_rank_deficient_tensors_give_finite_terms(rank: int, dtype: torch.dtype) -> None:
    tensor = planted(6, 5, 4, rank=1).to(dtype)
    columns = cp_als(tensor, rank, seed=0)
    assert all(bool(matrix.isfinite().all()) for matrix in columns)
    assert error(tensor.double(), cp_dense(columns)) < 1e-6


def symmetric_degenerate() -> Tensor:
    """a⊗a⊗b + a⊗b⊗a + b⊗a⊗a: of rank 3, with tensors of rank 2 as near as one likes."""
    a, b = torch.eye(4, dtype=torch.float64)[:2]
    return sum(
        (torch.einsum("i,j,k->ijk", *three) for three in ((a, a, b), (a, b, a), (b, a, a))), torch.zeros(4, 4, 4)
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_terms_stay_bounded_where_no_best_approximation_exists(seed: int, scale: float) -> None:
    tensor = scale * symmetric_degenerate()
    columns = cp_als(tensor, 2, seed=seed, max_sweeps=3000, tolerance=0)
    assert error(tensor, cp_dense(columns)) < 0.05
    assert cancellation(columns, tensor.norm()) < 100


def test_without_the_penalty_terms_grow_larger() -> None:
    tensor = trained_like(32, 16, 9, seed=1)
    free, held = (cp_als(tensor, 12, seed=0, max_sweeps=300, penalty=penalty) for penalty in (0.0, 1e-3))
    assert cancellation(held, tensor.norm()) < 0.8 * cancellation(free, tensor.norm())
    assert error(tensor, cp_dense(held)) < 1.02 * error(tensor, cp_dense(free))


def test_the_penalty_is_no_burden_on_terms_that_are_well_apart() -> None:
    tensor = planted(16, 14, 9, rank=6)
    assert error(tensor, cp_dense(cp_als(tensor, 6, seed=0))) < 1e-6


def test_it_stops_at_an_error_that_is_enough() -> None:
    tensor = trained_like(24, 16, 9)
    best = error(tensor, cp_dense(cp_als(tensor, 20, seed=0)))
    enough = 1.2 * best
    stopped = error(tensor, cp_dense(cp_als(tensor, 20, seed=0, enough=enough)))
    assert best < stopped <= enough


@pytest.mark.parametrize("sides", [(32, 16, 9), (24, 16, 3, 3)])
def test_float32_reaches_what_float64_does(sides: tuple[int, ...]) -> None:
    tensor = trained_like(*sides)
    errors = [error(tensor, cp_dense(cp_als(kernel, 8, seed=0, max_sweeps=40))) for kernel in (tensor.float(), tensor)]
    assert errors[0] == pytest.approx(errors[1], rel=2e-2)


def test_a_float32_tensor_of_small_error_is_multiplied_in_float64() -> None:
    tensor = planted(20, 15, 9, rank=4)
    columns = cp_als(tensor.float(), 4, seed=0)
    assert all(matrix.dtype == torch.float64 for matrix in columns)
    assert error(tensor, cp_dense(columns)) < 3e-7


def test_gathered_columns_are_of_norm_one_but_the_first() -> None:
    columns = [matrix * 3 for matrix in cp_als(trained_like(6, 5, 4), 3, seed=0)]
    first, *others = gathered(columns)
    assert torch.allclose(cp_dense(columns), cp_dense([first, *others]))
    assert all(torch.allclose(matrix.norm(dim=0), torch.ones(3, dtype=torch.float64)) for matrix in others)
