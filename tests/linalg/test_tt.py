import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.tt import contract, largest_ranks, leading_rows, tt_svd, unfoldings, useful_ranks

SIZES = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def planted(sizes: tuple[int, ...], ranks: tuple[int, ...], seed: int = 0) -> Tensor:
    """A float64 tensor of exactly these TT ranks."""
    generator = torch.Generator().manual_seed(seed)
    bonds = (1, *ranks, 1)
    return contract(
        [
            torch.randn(bonds[j], size, bonds[j + 1], generator=generator, dtype=torch.float64)
            for j, size in enumerate(sizes)
        ]
    )


def with_values(values: Tensor, rows: int, columns: int) -> Tensor:
    """A float64 matrix with these singular values."""
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.linalg.qr(torch.randn(side, len(values), generator=generator, dtype=torch.float64)).Q
        for side in (rows, columns)
    )
    return (left * values) @ right.T


def test_largest_ranks_reproduce_the_tensor() -> None:
    tensor = trained_like(4, 3, 5, 6)
    assert largest_ranks((4, 3, 5, 6)) == (4, 12, 6)
    cores = tt_svd(tensor, (4, 12, 6))
    assert [tuple(core.shape) for core in cores] == [(1, 4, 4), (4, 3, 12), (12, 5, 6), (6, 6, 1)]
    assert error(tensor, contract(cores)) < 1e-12


def test_a_matrix_is_its_truncated_svd() -> None:
    matrix = trained_like(8, 6)
    left_out = torch.linalg.svdvals(matrix)[2:].norm() / matrix.norm()
    assert error(matrix, contract(tt_svd(matrix, (2,)))) == pytest.approx(float(left_out))


@pytest.mark.parametrize("ranks", [(4, 10, 8), (10, 24, 16), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_tensorly(ranks: tuple[int, int, int], dtype: torch.dtype) -> None:
    tensor = trained_like(16, 3, 3, 32).to(dtype)
    ours, theirs = (error(tensor, contract(solve(tensor, ranks))) for solve in (tt_svd, with_tensorly.tt_svd))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_both_find_a_planted_train() -> None:
    tensor = planted((6, 3, 3, 7), (2, 4, 3))
    for solve in (tt_svd, with_tensorly.tt_svd):
        assert error(tensor, contract(solve(tensor, (2, 4, 3)))) < 1e-12


@settings(max_examples=30, deadline=None)
@given(SIZES, st.floats(0.0, 1.0), st.sampled_from([torch.float32, torch.float64]))
def test_error_is_within_the_bound_of_the_unfoldings(sizes: tuple[int, ...], part: float, dtype: torch.dtype) -> None:
    tensor = planted(sizes, largest_ranks(sizes)).to(dtype)
    ranks = useful_ranks(sizes, [max(1, round(part * rank)) for rank in largest_ranks(sizes)])
    cores = tt_svd(tensor, ranks)
    assert [tuple(core.shape) for core in cores] == list(zip((1, *ranks), sizes, (*ranks, 1), strict=True))
    assert {core.dtype for core in cores} == {dtype}
    tails = [
        float(torch.linalg.svdvals(matrix)[rank:].square().sum())
        for matrix, rank in zip(unfoldings(tensor.double()), ranks, strict=True)
    ]
    slack = float(tensor.norm()) * (1e-5 if dtype == torch.float32 else 1e-12)
    distance = float(torch.dist(contract(cores).double(), tensor.double()))
    assert distance <= sum(tails) ** 0.5 + slack
    assert distance >= max(tails) ** 0.5 - slack


def test_cores_are_orthonormal_towards_the_meeting_one() -> None:
    first, second, third, last = tt_svd(trained_like(4, 3, 3, 5), (3, 6, 4))
    for rows in (first.flatten(0, 1).T, last.flatten(1)):
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64))
    assert second.norm() > 0
    assert third.norm() > 0


def test_a_tensor_of_zeros_stays_zero_and_a_deficient_one_is_found() -> None:
    zeros = tt_svd(torch.zeros(4, 3, 5), (2, 3))
    assert not contract(zeros).any()
    same = torch.ones(6, 3, 3, 8, dtype=torch.float64)
    for ranks in ((1, 1, 1), (3, 5, 4)):
        assert error(same, contract(tt_svd(same, ranks))) < 1e-12


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_small_singular_values_are_told_from_rounding(dtype: torch.dtype, least: float) -> None:
    values = torch.logspace(0, torch.log10(torch.tensor(least)), 20, dtype=torch.float64)
    matrix = with_values(values, 30, 80).to(dtype)
    for rank in range(1, 20):
        frame = leading_rows(matrix, rank)
        left_out = float((matrix.double() - frame @ (frame.T @ matrix.double())).norm())
        rounding = 8 * torch.finfo(dtype).eps
        assert left_out <= 1.05 * float(values[rank:].norm()) + rounding


def test_useful_ranks_are_capped_from_both_sides() -> None:
    assert useful_ranks((6, 3, 3, 8), (2, 10, 40)) == (2, 6, 8)
    assert useful_ranks((6, 3, 3, 8), (6, 18, 1)) == (6, 3, 1)


def test_ranks_without_a_use_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 7\), wanted at most \(2, 6\)"):
        tt_svd(trained_like(4, 3, 8), (2, 7))
    with pytest.raises(ValueError, match=r"got \(2,\), wanted"):
        tt_svd(trained_like(4, 3, 8), (2,))
