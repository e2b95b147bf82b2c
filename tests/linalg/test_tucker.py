from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from tensorly.decomposition import partial_tucker
from torch import Tensor

from tnbench.linalg import with_tensorly
from tnbench.linalg.hosvd import st_hosvd
from tnbench.linalg.low_rank import leading_left, resolution
from tnbench.linalg.multilinear import expanded, mode_product
from tnbench.linalg.tucker import hooi, tucker2

ALL = (0, 1, 2, 3)


def contract(parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    core, first, second = parts
    return expanded(core.double(), (first.double(), second.double()), (0, 1))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_full_ranks_reproduce_the_tensor() -> None:
    tensor = trained_like(8, 5, 3, 3)
    assert error(tensor, contract(tucker2(tensor, (8, 5)))) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_factors_are_orthonormal_and_the_core_is_the_projection(dtype: torch.dtype) -> None:
    tensor = trained_like(8, 6, 3, 3).to(dtype)
    core, first, second = tucker2(tensor, (3, 2))
    assert core.dtype == first.dtype == second.dtype == dtype
    assert torch.allclose(first.T @ first, torch.eye(3, dtype=dtype), atol=1e-6)
    assert torch.allclose(second.T @ second, torch.eye(2, dtype=dtype), atol=1e-6)
    assert torch.allclose(core, torch.einsum("oihw,oa,ib->abhw", tensor, first, second), atol=1e-5)


def test_iteration_improves_on_the_higher_order_svd() -> None:
    tensor = noise(16, 16, 3, 3)
    first, second = leading_left(tensor.flatten(1), 4), leading_left(tensor.transpose(0, 1).flatten(1), 4)
    projected = torch.einsum("oihw,oa,ib,pa,jb->pjhw", tensor, first, second, first, second)
    assert error(tensor, contract(tucker2(tensor, (4, 4)))) < 0.999 * error(tensor, projected)


@pytest.mark.parametrize("ranks", [(8, 6), (16, 12), (24, 4), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_tensorly(ranks: tuple[int, int], seed: int) -> None:
    tensor = trained_like(32, 16, 3, 3, seed=seed)
    core, factors = with_tensorly.hooi(tensor, ranks, (0, 1))
    theirs = error(tensor, expanded(core, factors, (0, 1)))
    assert error(tensor, contract(tucker2(tensor, ranks, tolerance=1e-6))) == pytest.approx(theirs, rel=3e-4)


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("shape", "ranks"),
    [((32, 32, 3, 3), (12, 12)), ((48, 24, 3, 3), (18, 9)), ((64, 3, 7, 7), (20, 1)), ((32, 48, 1, 1), (6, 6))],
)
def test_the_error_in_float32_is_at_most_tensorlys(
    shape: tuple[int, ...], ranks: tuple[int, int], decay: float
) -> None:
    """At the defaults of both, from flat spectra to ones whose tail float32 cannot square."""
    tensor = noise(*shape, seed=1)
    for mode, side in enumerate(shape):
        tensor = mode_product(
            tensor, torch.linalg.qr(noise(side, side, seed=mode)).Q / torch.arange(1, side + 1) ** decay, mode
        )
    single = tensor.float()
    (core, factors), _ = partial_tucker(single.numpy(), list(ranks), modes=[0, 1])
    theirs = error(single.double(), contract((torch.tensor(core), *map(torch.tensor, factors))))
    assert error(single.double(), contract(tucker2(single, ranks))) <= 1.001 * theirs + 1e-7


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 2, *[st.integers(1, 3)] * 2), st.data())
def test_whatever_shape_and_ranks_it_is_a_projection_no_worse_than_its_start(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    ranks = tuple(data.draw(st.integers(1, side)) for side in shape)
    tensor = noise(*shape, seed=data.draw(st.integers(0, 10**6)))
    core, factors = hooi(tensor, ranks, ALL)
    assert core.shape == ranks
    for factor in factors:
        assert torch.allclose(factor.T @ factor, torch.eye(factor.shape[1], dtype=torch.float64), atol=1e-10)
    kept = [mode_product(tensor, factors[0].T, 0)]
    for mode in ALL[1:]:
        kept.append(mode_product(kept[-1], factors[mode].T, mode))
    assert torch.allclose(core, kept[-1], atol=1e-10)
    begun = error(tensor, expanded(*st_hosvd(tensor, ranks, ALL), ALL))
    assert error(tensor, expanded(core, factors, ALL)) <= begun * (1 + 1e-9) + 1e-12


def test_more_sweeps_never_raise_the_error() -> None:
    for tensor in (noise(14, 10, 3, 3), noise(14, 10, 3, 3).float(), trained_like(14, 10, 3, 3)):
        errors = [
            error(tensor.double(), contract(tucker2(tensor, (5, 4), max_sweeps=sweeps, tolerance=0)))
            for sweeps in range(12)
        ]
        assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(errors))
        assert errors[-1] < errors[0]


def test_ranks_next_to_the_full_ones_do_not_stop_the_filter() -> None:
    """Where hardly anything is left out the filter's interval is nearly the whole spectrum."""
    tensor = noise(16, 14, 3, 3)
    core, factors = with_tensorly.hooi(tensor, (15, 13), (0, 1))
    theirs = error(tensor, expanded(core, factors, (0, 1)))
    assert error(tensor, contract(tucker2(tensor, (15, 13)))) <= 1.001 * theirs


@pytest.mark.parametrize("modes", [(0, 1), (1, 3), (0, 1, 2, 3), (2,)])
def test_planted_cores_are_found_in_any_modes(modes: tuple[int, ...]) -> None:
    ranks, tensor = tuple(2 for _ in modes), trained_like(9, 8, 4, 4)
    for mode in modes:
        basis = torch.linalg.qr(noise(tensor.shape[mode], 2, seed=mode)).Q
        tensor = mode_product(tensor, basis @ basis.T, mode)
    assert error(tensor, expanded(*hooi(tensor, ranks, modes), modes)) < 1e-12
    single = tensor.float()
    core, factors = hooi(single, ranks, modes)
    assert error(single, expanded(core, factors, modes)) < 1e-6


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_small_remainders_are_left_as_small_as_they_are(size: float) -> None:
    """Below what squares can resolve too: the rest of a planted core is the error, and no more."""
    bases = [torch.linalg.qr(noise(side, 3, seed=side)).Q for side in (20, 18)]
    planted = expanded(noise(3, 3, 3, 3), bases, (0, 1))
    rest = noise(20, 18, 3, 3, seed=9)
    tensor = planted / planted.norm() + size * rest / rest.norm()
    assert error(tensor, contract(tucker2(tensor, (3, 3)))) <= size
    if size > 1e-4:
        assert error(tensor, contract(tucker2(tensor.float(), (3, 3)))) <= 1.0001 * size
        assert size**2 < resolution(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 4, 3, 3), (1, 4, 3, 3), (5, 1, 3, 3), (1, 1, 1, 1), (6, 5, 1, 1)])
def test_zeros_and_deficient_tensors_stay_finite(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ranks = (min(2, shape[0]), min(2, shape[1]))
    zeros = torch.zeros(shape, dtype=dtype)
    assert not contract(tucker2(zeros, ranks)).any()
    alike = noise(1, *shape[1:]).expand(shape).to(dtype)
    parts = tucker2(alike, ranks)
    assert all(bool(part.isfinite().all()) for part in parts)
    full = tucker2(alike, (shape[0], shape[1]))
    assert error(alike.double(), contract(full)) < 1e-6
