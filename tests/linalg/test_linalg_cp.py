from itertools import pairwise
from statistics import median

import pytest
import torch
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.cp import balanced, cp_als, cp_exact


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
    tensor = trained_like(6, 5, 3, 3)
    stopped, pressed = (cp_als(tensor, 2, seed=0, max_sweeps=300, tolerance=tolerance) for tolerance in (1e-1, 0.0))
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
