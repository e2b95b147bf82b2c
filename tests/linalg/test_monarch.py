import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like

from tnbench.linalg.monarch import blocks, monarch, nearest_monarch


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_two_block_diagonal_matrices_and_two_permutations() -> None:
    """Built as Dao et al. draw it, for a square of 9 with r = 1: P L P' R."""
    m = 3
    first, second = normal(m, 1, m, m), normal(m, m, m, 1, seed=1)
    right = torch.block_diag(*first[:, 0])
    left = torch.block_diag(*second[..., 0])
    swap = torch.eye(m * m, dtype=torch.float64).reshape(m, m, -1).transpose(0, 1).reshape(m * m, -1)
    assert torch.allclose(monarch(first, second), swap @ left @ swap.T @ right)


@settings(deadline=None, max_examples=40)
@given(
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    block=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    rank=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_planted_monarch_matrices_are_found(
    grid: tuple[int, int], block: tuple[int, int], rank: int, seed: int
) -> None:
    (l, k), (q, p), rank = grid, block, min(rank, *block)
    planted = monarch(normal(k, rank, l, p, seed=seed), normal(l, q, k, rank, seed=seed + 1))
    first, second = nearest_monarch(planted, grid, rank)
    assert (first.shape, second.shape) == ((k, rank, l, p), (l, q, k, rank))
    assert error(planted, monarch(first, second)) < 1e-10


@pytest.mark.parametrize(("grid", "rank"), [((2, 3), 1), ((4, 2), 2), ((8, 12), 1), ((1, 1), 5)])
def test_no_monarch_matrix_is_nearer_than_the_singular_values_left_out_allow(grid: tuple[int, int], rank: int) -> None:
    """Each block, cut out by its row and column numbers, at the least error of its rank."""
    matrix = trained_like(8, 12)
    (l, k), (O, I) = grid, matrix.shape
    left_out = sum(
        float(torch.linalg.svdvals(matrix[j::l, i * (I // k) : (i + 1) * (I // k)])[rank:].square().sum())
        for j in range(l)
        for i in range(k)
    )
    found = monarch(*nearest_monarch(matrix, grid, rank))
    assert float((matrix - found).square().sum()) == pytest.approx(left_out, abs=1e-12)
    assert blocks(matrix, grid).shape == (l, k, O // l, I // k)


def test_zeros_stay_zeros() -> None:
    assert not monarch(*nearest_monarch(torch.zeros(6, 8).double(), (2, 4), 2)).any()
