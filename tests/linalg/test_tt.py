import pytest
import torch
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.tt import tt_svd


def contract(cores: tuple[Tensor, ...]) -> Tensor:
    whole = cores[0]
    for core in cores[1:]:
        whole = torch.tensordot(whole, core, dims=1)
    return whole[0, ..., 0]


def test_largest_ranks_reproduce_the_tensor() -> None:
    tensor = trained_like(4, 3, 5, 6)
    cores = tt_svd(tensor, (4, 12, 6))
    assert [tuple(core.shape) for core in cores] == [(1, 4, 4), (4, 3, 12), (12, 5, 6), (6, 6, 1)]
    assert error(tensor, contract(cores)) < 1e-12


def test_a_matrix_is_its_truncated_svd() -> None:
    matrix = trained_like(8, 6)
    left_out = torch.linalg.svdvals(matrix)[2:].norm() / matrix.norm()
    assert error(matrix, contract(tt_svd(matrix, (2,)))) == pytest.approx(float(left_out))


@pytest.mark.parametrize("ranks", [(4, 10, 8), (10, 24, 16), (1, 1, 1)])
def test_agrees_with_tensorly(ranks: tuple[int, int, int]) -> None:
    tensor = trained_like(16, 3, 3, 32)
    ours, theirs = (error(tensor, contract(solve(tensor, ranks))) for solve in (tt_svd, with_tensorly.tt_svd))
    assert ours == pytest.approx(theirs, rel=1e-4)
