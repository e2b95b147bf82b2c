from itertools import permutations

import pytest
import tensorly
import torch
from linalg_kernels import error, trained_like
from tensorly.decomposition import tucker as tensorly_tucker

from tnbench.linalg.hosvd import hosvd, st_hosvd
from tnbench.linalg.multilinear import expanded, mode_product, unfold

ALL = (0, 1, 2, 3)


@pytest.mark.parametrize("mode", ALL)
def test_products_and_unfoldings_go_together(mode: int) -> None:
    tensor, matrix = trained_like(4, 5, 3, 2), trained_like(6, (4, 5, 3, 2)[mode])
    product = mode_product(tensor, matrix, mode)
    assert torch.allclose(unfold(product, mode), matrix @ unfold(tensor, mode))
    assert torch.allclose(product, torch.tensordot(matrix, tensor, dims=([1], [mode])).movedim(0, mode))


@pytest.mark.parametrize("solve", [hosvd, st_hosvd])
def test_full_ranks_reproduce_the_tensor(solve: object) -> None:
    tensor = trained_like(6, 5, 3, 2)
    core, factors = solve(tensor, (6, 5, 3, 2), ALL)  # type: ignore[operator]
    assert error(tensor, expanded(core, factors, ALL)) < 1e-12


@pytest.mark.parametrize("solve", [hosvd, st_hosvd])
@pytest.mark.parametrize("modes", [(0,), (1, 0), (3, 1), ALL])
def test_the_error_keeps_its_bound(solve: object, modes: tuple[int, ...]) -> None:
    """At most the root of the sum of what every unfolding loses, which is at most sqrt(d) times the best error."""
    tensor = trained_like(7, 6, 5, 4)
    ranks = tuple(2 + mode % 2 for mode in modes)
    core, factors = solve(tensor, ranks, modes)  # type: ignore[operator]
    assert [tuple(factor.shape) for factor in factors] == [
        (tensor.shape[mode], rank) for mode, rank in zip(modes, ranks, strict=True)
    ]
    for factor, rank in zip(factors, ranks, strict=True):
        assert torch.allclose(factor.T @ factor, torch.eye(rank, dtype=torch.float64), atol=1e-12)
    lost = sum(
        float(torch.linalg.svdvals(unfold(tensor, mode))[rank:].square().sum())
        for mode, rank in zip(modes, ranks, strict=True)
    )
    assert float(torch.dist(tensor, expanded(core, factors, modes))) <= lost**0.5 * (1 + 1e-12)


def test_hosvds_factors_are_the_unfoldings_singular_vectors() -> None:
    tensor = trained_like(7, 6, 5)
    _, factors = hosvd(tensor, (3, 3, 3), (0, 1, 2))
    for mode, factor in enumerate(factors):
        vectors = torch.linalg.svd(unfold(tensor, mode)).U[:, :3]
        assert torch.allclose((vectors.T @ factor).abs(), torch.eye(3, dtype=torch.float64), atol=1e-8)


def test_the_order_of_modes_matters_to_the_sequential_form_alone() -> None:
    tensor = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = set()
    for order in permutations((0, 1, 2)):
        core, factors = st_hosvd(tensor, (2, 2, 2), (0, 1, 2), order=order)
        assert core.shape == (2, 2, 2)
        errors.add(round(error(tensor, expanded(core, factors, (0, 1, 2))), 10))
    assert len(errors) > 1
    by_default = error(tensor, expanded(*st_hosvd(tensor, (2, 2, 2), (0, 1, 2)), (0, 1, 2)))
    small_first = error(tensor, expanded(*st_hosvd(tensor, (2, 2, 2), (0, 1, 2), order=(2, 1, 0)), (0, 1, 2)))
    assert by_default == small_first


@pytest.mark.parametrize("solve", [hosvd, st_hosvd])
def test_a_planted_core_is_found_as_tensorly_finds_it(solve: object) -> None:
    core = trained_like(3, 2, 2, 2)
    tensor = expanded(
        core, [trained_like(side, rank) for side, rank in zip((9, 8, 3, 3), (3, 2, 2, 2), strict=True)], ALL
    )
    ours = expanded(*solve(tensor, (3, 2, 2, 2), ALL), ALL)  # type: ignore[operator]
    theirs = tensorly.tucker_to_tensor(tensorly_tucker(tensor.numpy(), (3, 2, 2, 2)))
    assert error(tensor, ours) < 1e-12
    assert error(tensor, torch.tensor(theirs)) < 1e-12
