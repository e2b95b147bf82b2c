import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like

from tnbench.linalg.kronecker import kronecker_sum, nearest_kronecker_sum, rearranged


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_sum_is_that_of_torch_kron() -> None:
    one, other = normal(3, 2, 5), normal(3, 4, 3, seed=1)
    wanted = sum(torch.kron(a, b) for a, b in zip(one, other, strict=True))
    assert torch.allclose(kronecker_sum(one, other), wanted)


def test_each_offset_of_a_kernel_is_a_kronecker_product() -> None:
    one, other = normal(2, 3, 2), normal(2, 4, 5, 3, 2, seed=1)
    kernel = kronecker_sum(one, other)
    assert kernel.shape == (12, 10, 3, 2)
    wanted = sum(torch.kron(a, b) for a, b in zip(one, other[..., 1, 0], strict=True))
    assert torch.allclose(kernel[..., 1, 0], wanted)


@settings(deadline=None, max_examples=40)
@given(
    left=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    right=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    sides=st.sampled_from([(), (3,), (3, 2), (2, 1, 2)]),
    terms=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_planted_sums_are_found(
    left: tuple[int, int], right: tuple[int, int], sides: tuple[int, ...], terms: int, seed: int
) -> None:
    planted = kronecker_sum(normal(terms, *left, seed=seed), normal(terms, *right, *sides, seed=seed + 1))
    most = min(rearranged(planted, left).shape)
    one, other = nearest_kronecker_sum(planted, left, min(terms, most))
    assert one.shape[1:] == left
    assert other.shape[1:] == (*right, *sides)
    assert error(planted, kronecker_sum(one, other)) < 1e-6


@pytest.mark.parametrize("left", [(4, 3), (2, 6), (8, 1), (1, 12), (8, 12)])
@pytest.mark.parametrize("terms", [1, 2, 4])
def test_no_sum_is_nearer_than_the_singular_values_left_out_allow(left: tuple[int, int], terms: int) -> None:
    """Eckart and Young, with the rearranged matrix built entry by entry."""
    kernel = trained_like(8, 12, 3, 3)
    o1, i1 = left
    o2, i2 = 8 // o1, 12 // i1
    rows = [kernel[a * o2 : (a + 1) * o2, b * i2 : (b + 1) * i2].flatten() for a in range(o1) for b in range(i1)]
    matrix = torch.stack(rows)
    terms = min(terms, *matrix.shape)
    found = kronecker_sum(*nearest_kronecker_sum(kernel, left, terms))
    assert float((kernel - found).norm()) == pytest.approx(
        float(torch.linalg.svdvals(matrix)[terms:].norm()), abs=1e-12
    )


def test_zeros_stay_zeros_and_factors_share_the_scale() -> None:
    assert not kronecker_sum(*nearest_kronecker_sum(torch.zeros(6, 4, 3, 3).double(), (3, 2), 2)).any()
    one, other = nearest_kronecker_sum(trained_like(8, 12, 3, 3), (4, 3), 3)
    assert torch.allclose(one.flatten(1).norm(dim=1), other.flatten(1).norm(dim=1))
