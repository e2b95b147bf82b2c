import pytest
import torch
from linalg_kernels import error, trained_like

from tnbench.linalg.low_rank import low_rank
from tnbench.linalg.range_finder import randomised_low_rank, range_finder


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (12, 12), (1, 8), (8, 1)])
def test_the_range_is_orthonormal_and_holds_what_the_rank_can(shape: tuple[int, int]) -> None:
    matrix = trained_like(*shape)
    basis = range_finder(matrix, 6, seed=0)
    width = min(16, *shape)
    assert basis.shape == (shape[0], width)
    assert torch.allclose(basis.T @ basis, torch.eye(width, dtype=torch.float64), atol=1e-12)
    best = float(torch.linalg.svdvals(matrix)[min(6, width) :].norm())
    assert float(torch.dist(matrix, basis @ (basis.T @ matrix))) <= best + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_a_low_rank_matrix_is_found_without_power_iterations(seed: int) -> None:
    matrix = trained_like(30, 5, seed=seed) @ trained_like(5, 70, seed=seed + 1)
    left, right = randomised_low_rank(matrix, 5, seed=seed, power=0)
    assert error(matrix, left @ right) < 1e-12


def test_power_iterations_sharpen_a_flat_spectrum() -> None:
    matrix = torch.randn(60, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best = error(matrix, torch.Tensor.matmul(*low_rank(matrix, 10)))
    rough, sharp = (
        error(matrix, torch.Tensor.matmul(*randomised_low_rank(matrix, 10, seed=0, oversample=0, power=power)))
        for power in (0, 6)
    )
    assert best <= sharp < rough
    assert sharp - best < 0.2 * (rough - best)


def test_the_seed_decides_and_the_global_generator_stays() -> None:
    matrix, before = trained_like(20, 30), torch.get_rng_state()
    one, two, other = (range_finder(matrix, 3, seed=seed, oversample=0, power=0) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_float32_stays_float32() -> None:
    left, right = randomised_low_rank(trained_like(20, 30).float(), 4, seed=0)
    assert left.dtype == right.dtype == torch.float32
