import pytest
import torch
from linalg_kernels import error, trained_like

from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import leading_left, low_rank


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


@pytest.mark.parametrize("transposed", [False, True])
def test_tiny_singular_values_are_found(transposed: bool) -> None:
    """A Gram matrix cannot see values of 1e-9 beside 1: the full SVD must take over."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 4, generator=generator).double()).Q for n in (20, 30))
    matrix = left @ torch.diag(torch.tensor([1.0, 1e-9, 1e-10, 1e-13], dtype=torch.float64)) @ right.T
    matrix = matrix.T if transposed else matrix
    assert error(matrix, torch.Tensor.matmul(*low_rank(matrix, 3))) < 1e-12


def test_zeros_have_orthonormal_columns_too() -> None:
    left = leading_left(torch.zeros(7, 3, dtype=torch.float64), 2)
    assert torch.allclose(left.T @ left, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize(("shape", "rank"), [((32, 144), 8), ((144, 32), 20), ((10, 84), 3)])
def test_agrees_with_tensorly(shape: tuple[int, int], rank: int) -> None:
    matrix = trained_like(*shape)
    ours, theirs = (
        error(matrix, torch.Tensor.matmul(*solve(matrix, rank))) for solve in (low_rank, with_tensorly.low_rank)
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
