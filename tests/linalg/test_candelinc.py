import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from peak_bytes import PeakBytes
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.candelinc import candelinc, through_core
from tnbench.linalg.cp import Columns, cp_als, cp_dense, cp_exact


def planted(*sides: int, rank: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return cp_dense([torch.randn(side, rank, generator=generator, dtype=torch.float64) for side in sides])


@pytest.mark.parametrize("sides", [(40, 30, 9), (24, 20, 3, 3), (30, 25)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_planted_terms_are_found_as_by_tensorly(sides: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = planted(*sides, rank=3)
    found = candelinc(tensor.to(dtype), 3, seed=0)
    theirs = with_tensorly.cp(tensor, 3, seed=0)
    assert error(tensor, cp_dense(found)) <= error(tensor, cp_dense(theirs)) + 1e-5


def test_terms_far_below_the_largest_survive_the_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randn(side, 3, generator=generator, dtype=torch.float64) for side in (40, 30, 9)]
    columns[0] *= torch.tensor([1.0, 1e-3, 1e-6])
    tensor, cores = cp_dense(columns), []

    def exact(core: Tensor, enough: float) -> Columns:
        cores.append(core)
        return cp_exact(core, 9)

    assert error(tensor, cp_dense(through_core(tensor, (3, 3, 3), exact, 0.0, seed=0))) < 1e-9
    assert [core.shape for core in cores] == [(3, 3, 3)]


def test_sweeps_over_the_whole_tensor_lower_the_error_to_that_of_cp_als() -> None:
    tensor = trained_like(48, 40, 9)
    for seed in range(3):
        cut, whole = (solver(tensor, 8, seed=seed) for solver in (candelinc, cp_als))
        assert error(tensor, cp_dense(cut)) <= 1.03 * error(tensor, cp_dense(whole))


def test_a_start_is_never_worsened() -> None:
    tensor = trained_like(48, 40, 9)
    start = cp_als(tensor, 4, seed=0, max_sweeps=4)
    reached = candelinc(tensor, 6, seed=0, start=start, max_sweeps=2)
    assert error(tensor, cp_dense(reached)) <= error(tensor, cp_dense(start)) * (1 + 1e-9)


def test_without_sides_to_cut_it_is_cp_als() -> None:
    tensor = trained_like(12, 10, 9)
    for one, other in zip(candelinc(tensor, 10, seed=1), cp_als(tensor, 10, seed=1), strict=True):
        assert torch.equal(one, other)


def test_it_stops_at_an_error_that_is_enough() -> None:
    tensor = trained_like(48, 40, 9)
    best = error(tensor, cp_dense(candelinc(tensor, 8, seed=0)))
    stopped = error(tensor, cp_dense(candelinc(tensor, 8, seed=0, enough=1.3 * best)))
    assert best < stopped <= 1.3 * best


def test_zeros_stay_zeros() -> None:
    assert not any(matrix.any() for matrix in candelinc(torch.zeros(30, 20, 9), 2, seed=0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(1, 3), st.integers(0, 9))
def test_any_shape_gives_finite_terms(sides: list[int], rank: int, seed: int) -> None:
    tensor = torch.randn(*sides, generator=torch.Generator().manual_seed(seed))
    columns = candelinc(tensor, rank, seed=seed, max_sweeps=6)
    assert [tuple(matrix.shape) for matrix in columns] == [(side, rank) for side in sides]
    assert all(bool(matrix.isfinite().all()) for matrix in columns)
    assert error(tensor.double(), cp_dense(columns)) <= 1 + 1e-6


@pytest.mark.parametrize(("sides", "rank"), [((256, 256, 9), 64), ((256, 256, 3, 3), 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_take_at_most_three_times_the_kernel(sides: tuple[int, ...], rank: int, dtype: torch.dtype) -> None:
    tensor = torch.randn(*sides, generator=torch.Generator().manual_seed(0)).to(dtype)
    with PeakBytes() as peak:
        candelinc(tensor, rank, seed=0, max_sweeps=4)
    kernels = peak.most / (tensor.numel() * tensor.element_size())
    assert kernels <= 3
