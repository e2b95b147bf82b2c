import pytest
import torch
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.low_rank import leading_left
from tnbench.linalg.tucker import tucker2


def contract(parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    core, first, second = parts
    return torch.einsum("ab...,oa,ib->oi...", core, first, second)


def test_full_ranks_reproduce_the_tensor() -> None:
    tensor = trained_like(8, 5, 3, 3)
    assert error(tensor, contract(tucker2(tensor, (8, 5)))) < 1e-12


def test_factors_are_orthonormal_and_the_core_is_the_projection() -> None:
    tensor = trained_like(8, 6, 3, 3)
    core, first, second = tucker2(tensor, (3, 2))
    assert torch.allclose(first.T @ first, torch.eye(3, dtype=torch.float64))
    assert torch.allclose(second.T @ second, torch.eye(2, dtype=torch.float64))
    assert torch.allclose(core, torch.einsum("oihw,oa,ib->abhw", tensor, first, second))


def test_iteration_improves_on_the_higher_order_svd() -> None:
    tensor = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = leading_left(tensor.flatten(1), 4), leading_left(tensor.transpose(0, 1).flatten(1), 4)
    projected = torch.einsum("oihw,oa,ib,pa,jb->pjhw", tensor, first, second, first, second)
    assert error(tensor, contract(tucker2(tensor, (4, 4)))) < 0.999 * error(tensor, projected)


@pytest.mark.parametrize("ranks", [(8, 6), (16, 12), (24, 4), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_tensorly(ranks: tuple[int, int], seed: int) -> None:
    tensor = trained_like(32, 16, 3, 3, seed=seed)
    ours, theirs = (error(tensor, contract(solve(tensor, ranks))) for solve in (tucker2, with_tensorly.tucker2))
    assert ours == pytest.approx(theirs, rel=1e-4)
