import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg.tt import contract, largest_ranks, tt_svd
from tnbench.linalg.tt_rounding import tt_round


def drawn(sizes: tuple[int, ...], ranks: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    bonds = (1, *ranks, 1)
    return [
        torch.randn(bonds[j], size, bonds[j + 1], generator=generator, dtype=torch.float64)
        for j, size in enumerate(sizes)
    ]


def added(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    """The train of the sum, whose ranks are sums."""
    cores = [
        torch.cat(
            [
                torch.nn.functional.pad(a, (0, b.shape[2])),
                torch.nn.functional.pad(b, (a.shape[2], 0)),
            ]
        )
        for a, b in zip(one, other, strict=True)
    ]
    return [cores[0].sum(0, keepdim=True), *cores[1:-1], cores[-1].sum(2, keepdim=True)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=2, max_size=5).map(tuple))
def test_a_sum_with_itself_rounds_to_the_ranks_of_one(sizes: tuple[int, ...]) -> None:
    cores = drawn(sizes, tuple(min(2, rank) for rank in largest_ranks(sizes)))
    rounded = tt_round(added(cores, cores), tolerance=1e-10)
    assert [core.shape for core in rounded] == [core.shape for core in cores]
    assert error(2 * contract(cores), contract(rounded)) < 1e-10


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.01])
def test_error_stays_within_the_tolerance(tolerance: float) -> None:
    tensor = trained_like(8, 5, 4, 7)
    full = tt_svd(tensor, largest_ranks(tuple(tensor.shape)))
    rounded = tt_round(full, tolerance=tolerance)
    assert error(tensor, contract(rounded)) <= tolerance
    assert sum(core.numel() for core in rounded) < sum(core.numel() for core in full)


def test_rounding_to_ranks_is_as_good_as_decomposing_the_tensor() -> None:
    tensor = trained_like(8, 5, 4, 7)
    rounded = tt_round(tt_svd(tensor, (8, 28, 7)), ranks=(3, 6, 4))
    assert error(tensor, contract(rounded)) == pytest.approx(
        error(tensor, contract(tt_svd(tensor, (3, 6, 4)))), rel=0.02
    )


def test_all_cores_but_the_last_are_left_orthonormal() -> None:
    *before, _ = tt_round(drawn((4, 3, 5), (3, 4)), ranks=(2, 3))
    for core in before:
        columns = core.flatten(0, 1)
        assert torch.allclose(columns.T @ columns, torch.eye(columns.shape[1], dtype=torch.float64))


def test_zeros_round_to_ranks_of_one() -> None:
    rounded = tt_round([0 * core for core in drawn((4, 3, 5), (3, 4))], tolerance=0.1)
    assert [tuple(core.shape) for core in rounded] == [(1, 4, 1), (1, 3, 1), (1, 5, 1)]
    assert not contract(rounded).any()
