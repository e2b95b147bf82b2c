import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tnbench.linalg.vbmf import _threshold, evbmf_rank


def planted(L: int, M: int, rank: int, noise: float, seed: int, strength: float = 3.0) -> Tensor:
    """Singular values of a matrix (L, M) of this rank under white noise."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(side, max(rank, 1), generator=generator, dtype=torch.float64) for side in (L, M))
    white = torch.randn(L, M, generator=generator, dtype=torch.float64)
    signal = strength * left @ right.T if rank else torch.zeros(())
    return torch.linalg.svdvals(noise * (signal + white))


@settings(deadline=None, max_examples=60)
@given(
    sides=st.tuples(st.integers(12, 90), st.integers(12, 300)),
    share=st.floats(0, 0.3),
    noise=st.sampled_from([1e-6, 1e-3, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_planted_rank_is_found_whatever_the_size_and_the_noise(
    sides: tuple[int, int], share: float, noise: float, seed: int
) -> None:
    rank = int(share * min(sides))
    assert evbmf_rank(planted(*sides, rank, noise, seed), sides) == rank


@pytest.mark.parametrize("sides", [(64, 576), (576, 64), (128, 128), (9, 2304)])
def test_known_noise_and_estimated_noise_agree(sides: tuple[int, int]) -> None:
    values = planted(*sides, 5, 0.01, seed=1)
    assert evbmf_rank(values, sides) == evbmf_rank(values, sides, noise=0.01**2) == 5


def test_a_component_stays_if_it_is_above_the_threshold_of_the_paper() -> None:
    """For a square matrix t solves log(1 + t) = t / 2: about 2.5129."""
    threshold = math.sqrt(100 * (1 + 2.5129) * (1 + 1 / 2.5129))
    values = torch.full((100,), 1.0, dtype=torch.float64)
    values[0] = 1.001 * threshold
    assert evbmf_rank(values, (100, 100), noise=1.0) == 1
    values[0] = 0.999 * threshold
    assert evbmf_rank(values, (100, 100), noise=1.0) == 0


@pytest.mark.parametrize("alpha", [1.0, 0.3, 1e-2, 1e-4])
def test_the_threshold_is_above_the_edge_of_pure_noise(alpha: float) -> None:
    """Marchenko and Pastur: the largest squared singular value of noise tends to M (1 + sqrt(alpha))²."""
    assert (1 + math.sqrt(alpha)) ** 2 < _threshold(alpha) < 1.25 * (1 + math.sqrt(alpha)) ** 2 + 0.1


def test_scale_does_not_matter() -> None:
    values = planted(30, 80, 4, 1.0, seed=3, strength=0.6)
    assert len({evbmf_rank(values * scale, (30, 80)) for scale in (1e-8, 1.0, 1e8)}) == 1


def test_without_noise_the_rank_is_the_matrix_own() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 4, generator=generator).double() @ torch.randn(4, 50, generator=generator).double()
    assert evbmf_rank(torch.linalg.svdvals(matrix), (30, 50)) == 4


@pytest.mark.parametrize(("values", "shape"), [([0.0, 0.0, 0.0], (3, 7)), ([2.0], (1, 9)), ([1.0] * 5, (5, 5))])
def test_zeros_single_rows_and_flat_spectra_are_noise(values: list[float], shape: tuple[int, int]) -> None:
    assert evbmf_rank(torch.tensor(values), shape) == 0


def test_values_that_do_not_fit_the_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 singular values of a matrix 3×7, wanted 3"):
        evbmf_rank(torch.ones(2), (3, 7))
