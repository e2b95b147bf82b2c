import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import leading_left, low_rank, singular_values


def planted(values: Tensor, sides: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """A float64 matrix with these singular values, and its left singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(side, len(values), generator=generator, dtype=torch.float64)).Q for side in sides
    )
    return (left * values) @ right.T, left


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (9, 9), (1, 5), (5, 1)])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_error_is_the_energy_of_the_singular_values_left_out(shape: tuple[int, int], share: float) -> None:
    matrix = trained_like(*shape)
    rank = max(1, int(share * min(shape)))
    left, right = low_rank(matrix, rank)
    left_out = torch.linalg.svdvals(matrix)[rank:].norm()
    assert (left.shape, right.shape) == ((shape[0], rank), (rank, shape[1]))
    assert float(torch.dist(matrix, left @ right)) == pytest.approx(float(left_out), abs=1e-9)
    assert torch.allclose(left.T @ left, torch.eye(rank, dtype=torch.float64), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14), st.integers(0, 10**6), st.booleans())
def test_nothing_of_the_rank_is_nearer(rows: int, columns: int, rank: int, seed: int, single: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float32 if single else torch.float64
    matrix = torch.randn(rows, columns, generator=generator, dtype=dtype)
    rank = min(rank, rows, columns)
    left, right = low_rank(matrix, rank)
    assert left.dtype == right.dtype == dtype
    best = float(torch.linalg.svdvals(matrix.double())[rank:].norm())
    reached = float(torch.dist(matrix.double(), left.double() @ right.double()))
    assert reached == pytest.approx(best, rel=1e-4, abs=1e-6 * float(matrix.norm()))


@pytest.mark.parametrize("sides", [(30, 80), (80, 30), (40, 40)])
@pytest.mark.parametrize(("dtype", "least", "floor"), [(torch.float64, 1e-12, 1e-15), (torch.float32, 1e-6, 2e-7)])
@pytest.mark.parametrize("rank", [1, 5, 12, 20, 24, 29])
def test_planted_spectra_come_back(
    sides: tuple[int, int], dtype: torch.dtype, least: float, floor: float, rank: int
) -> None:
    """Whatever rank cuts the spectrum, nothing is lost beyond the input's own rounding."""
    values = torch.logspace(0, torch.tensor(least).log10().item(), 30, dtype=torch.float64)
    exact, columns = planted(values, sides)
    left, right = low_rank(exact.to(dtype), rank)
    reached = float(torch.dist(exact, left.double() @ right.double()))
    assert reached <= 1.001 * float(values[rank:].norm()) + 5 * floor
    # Rounding turns the space by about floor over the least value kept, or within five digits where squares serve.
    turned = float(torch.linalg.matrix_norm(columns[:, rank:].T @ left.double(), 2))
    assert turned <= max(1e-5, 100 * floor / float(values[rank - 1]))


@pytest.mark.parametrize("transposed", [False, True])
def test_tiny_singular_values_are_found(transposed: bool) -> None:
    """A Gram matrix cannot see values of 1e-9 beside 1: the SVD must take over."""
    matrix, _ = planted(torch.tensor([1.0, 1e-9, 1e-10, 1e-13], dtype=torch.float64), (20, 30))
    matrix = matrix.T if transposed else matrix
    assert error(matrix, torch.Tensor.matmul(*low_rank(matrix, 3))) < 1e-12


def test_small_remainders_of_float32_are_found() -> None:
    """A float32 Gram matrix loses twice of what the best approximation does."""
    matrix, _ = planted(torch.logspace(0, -5, 64, dtype=torch.float64), (64, 200))
    single = matrix.float()
    left_out = float(torch.linalg.svdvals(single.double())[50:].norm())
    reached = float(torch.dist(single.double(), torch.Tensor.matmul(*map(Tensor.double, low_rank(single, 50)))))
    coarse = torch.linalg.eigh(single @ single.T).eigenvectors.flip(1)[:, :50].double()
    assert reached <= 1.001 * left_out
    assert float(torch.dist(single.double(), coarse @ coarse.T @ single.double())) > 1.5 * left_out


def test_zeros_have_orthonormal_columns_too() -> None:
    left = leading_left(torch.zeros(7, 3, dtype=torch.float64), 2)
    assert torch.allclose(left.T @ left, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (1, 6)])
def test_a_deficient_matrix_keeps_orthonormal_columns(shape: tuple[int, int]) -> None:
    matrix = trained_like(shape[0], 1) @ trained_like(1, shape[1])
    for single in (matrix, matrix.float()):
        left, right = low_rank(single, min(shape))
        assert torch.allclose(left.T @ left, torch.eye(min(shape), dtype=left.dtype), atol=1e-5)
        assert error(single, left @ right) < 1e-6


@pytest.mark.parametrize("sides", [(20, 60), (60, 20), (25, 25)])
@pytest.mark.parametrize("least", [1e-1, 1e-3, 1e-6, 1e-12])
def test_singular_values_are_those_of_an_svd(sides: tuple[int, int], least: float) -> None:
    values = torch.logspace(0, torch.tensor(least).log10().item(), 20, dtype=torch.float64)
    found = singular_values(planted(values, sides)[0])
    assert torch.allclose(found[:20], values, rtol=1e-7, atol=1e-14)
    assert found.shape == (min(sides),)


def test_singular_values_of_float32_have_more_than_its_digits() -> None:
    matrix = trained_like(16, 50).float()
    found = singular_values(matrix)
    assert found.dtype == torch.float64
    assert torch.allclose(found, torch.linalg.svdvals(matrix.double()), rtol=1e-9)


@pytest.mark.parametrize(("shape", "rank"), [((32, 144), 8), ((144, 32), 20), ((10, 84), 3)])
def test_agrees_with_tensorly(shape: tuple[int, int], rank: int) -> None:
    matrix = trained_like(*shape)
    ours, theirs = (
        error(matrix, torch.Tensor.matmul(*solve(matrix, rank))) for solve in (low_rank, with_tensorly.low_rank)
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
