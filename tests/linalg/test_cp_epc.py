from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import trained_like
from scipy.optimize import minimize
from torch import Tensor

from tnbench.linalg.cp import Columns, cp_als
from tnbench.linalg.cp_diagnostics import cancellation, least_sensitive, raw_sensitivity, sensitivity
from tnbench.linalg.cp_epc import cp_epc, relative_error


def drawn(shape: Sequence[int], terms: int, seed: int = 0) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(side, terms, generator=generator, dtype=torch.float64) for side in shape)


def contract(columns: Sequence[Tensor]) -> Tensor:
    modes = "abcd"[: len(columns)]
    return torch.einsum(",".join(f"{mode}r" for mode in modes) + "->" + modes, *columns)


def diverging(size: float) -> tuple[Tensor, Columns]:
    """A tensor of rank 3 and border rank 2, and two terms that come the nearer to it, the larger they are."""
    a, b = torch.eye(2, dtype=torch.float64)
    tensor = contract([torch.stack(parts, dim=1) for parts in ([a, a, b], [a, b, a], [b, a, a])])
    pair = torch.stack([a + b / size, a], dim=1)
    return tensor, (pair * torch.tensor([size, -size], dtype=torch.float64), pair, pair)


def test_relative_error_is_that_of_the_sum() -> None:
    tensor, columns = trained_like(5, 4, 3, 2), drawn((5, 4, 3, 2), 3)
    wanted = float(torch.dist(tensor, contract(columns)) / tensor.norm())
    assert relative_error(tensor, columns) == pytest.approx(wanted)
    assert relative_error(torch.zeros(3, 2), [torch.zeros(3, 1), torch.zeros(2, 1)]) == 0


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    terms=st.integers(1, 6),
    slack=st.sampled_from([0.0, 1e-3, 0.3]),
    starts=st.integers(1, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_the_error_is_within_the_bound_and_the_sensitivity_no_higher(
    shape: list[int], terms: int, slack: float, starts: int, seed: int
) -> None:
    tensor, start = trained_like(*shape, seed=seed), drawn(shape, terms, seed)
    bound = relative_error(tensor, start) * (1 + slack)
    found, sweeps = cp_epc(tensor, start, bound=bound, starts=starts, seed=seed, max_sweeps=30)
    assert relative_error(tensor, found) <= bound
    assert sensitivity(found) <= sensitivity(start) * (1 + 1e-12)
    assert raw_sensitivity(found) == pytest.approx(sensitivity(found))
    assert 0 <= sweeps <= starts * 30


@pytest.mark.parametrize("shape", [(16, 12, 9), (12, 8, 3, 3)])
def test_terms_of_least_squares_become_far_less_sensitive(shape: tuple[int, ...]) -> None:
    tensor = trained_like(*shape)
    terms = cp_als(tensor, 14, seed=0)
    bound = relative_error(tensor, terms) * 1.001
    found, _ = cp_epc(tensor, terms, bound=bound)
    assert bound * (1 - 1e-6) < relative_error(tensor, found) <= bound
    assert sensitivity(found) < 0.8 * sensitivity(terms)


def test_terms_that_diverge_are_called_back() -> None:
    tensor, start = diverging(1e4)
    assert cancellation(start, tensor.norm()) > 1e4
    found, _ = cp_epc(tensor, start, bound=0.1)
    assert relative_error(tensor, found) <= 0.1
    assert cancellation(found, tensor.norm()) < 5


def test_relaxing_first_ends_in_a_better_minimum() -> None:
    tensor = trained_like(10, 8, 6)
    terms = cp_als(tensor, 10, seed=0, penalty=0.0)
    bound = relative_error(tensor, terms) * 1.001
    relaxed, cycled = (cp_epc(tensor, terms, bound=bound, relax=relax, max_sweeps=300) for relax in (True, False))
    assert sensitivity(relaxed.columns) < 0.95 * sensitivity(cycled.columns)
    assert sensitivity(cycled.columns) < 0.5 * sensitivity(terms)


def test_cycling_never_raises_the_sensitivity() -> None:
    tensor = trained_like(8, 6, 5)
    terms = cp_als(tensor, 6, seed=0, max_sweeps=20)
    bound = relative_error(tensor, terms) * 1.01
    before = sensitivity(terms)
    for _ in range(12):
        terms, sweeps = cp_epc(tensor, terms, bound=bound, relax=False, max_sweeps=4, tolerance=0)
        assert sensitivity(terms) <= before
        assert sweeps <= 4
        before = sensitivity(terms)


@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 3), (3, 3, 2, 2)])
def test_the_gradients_of_error_and_sensitivity_oppose_each_other(shape: tuple[int, ...]) -> None:
    tensor = trained_like(*shape)
    terms = cp_als(tensor, 2, seed=0)
    bound = relative_error(tensor, terms) * 1.05
    found, _ = cp_epc(tensor, terms, bound=bound, max_sweeps=3000, tolerance=1e-12)
    variables = [matrix.clone().requires_grad_() for matrix in found]
    energies = [matrix.square().sum(dim=0) for matrix in variables]
    weighed = sum(
        len(matrix) * (torch.stack(energies).prod(dim=0) / energy).sum()
        for matrix, energy in zip(variables, energies, strict=True)
    )
    squared = (contract(variables) - tensor).square().sum()
    one, other = (
        torch.cat([gradient.flatten() for gradient in torch.autograd.grad(value, variables)])
        for value in (weighed, squared)
    )
    assert float(torch.cosine_similarity(one, other, dim=0)) < -0.99999


@pytest.mark.parametrize("seed", range(2))
def test_no_general_optimiser_finds_less_sensitive_terms(seed: int) -> None:
    shape, terms = (4, 3, 2), 2
    tensor = trained_like(*shape, seed=seed)
    tensor = tensor / tensor.norm()
    start = cp_als(tensor, terms, seed=0)
    bound = relative_error(tensor, start) * 1.05
    found, _ = cp_epc(tensor, start, bound=bound, starts=3, max_sweeps=1000, tolerance=1e-9)

    def columns(flat: np.ndarray) -> Columns:
        parts = torch.from_numpy(flat).split([side * terms for side in shape])
        return tuple(part.reshape(side, terms) for part, side in zip(parts, shape, strict=True))

    room = {"type": "ineq", "fun": lambda flat: bound**2 - relative_error(tensor, columns(flat)) ** 2}
    begins = [found, *(least_sensitive(drawn(shape, terms, index)) for index in range(3))]
    best = np.inf
    for begin in begins:
        flat = torch.cat([matrix.flatten() for matrix in begin]).numpy()
        result = minimize(lambda x: raw_sensitivity(columns(x)), flat, constraints=[room], method="SLSQP")
        if relative_error(tensor, columns(result.x)) <= bound * (1 + 1e-6):
            best = min(best, result.fun)
    assert np.isfinite(best)
    assert sensitivity(found) <= 1.001 * best


def test_order_and_scaling_of_the_terms_do_not_matter() -> None:
    tensor = trained_like(8, 6, 5)
    terms = cp_als(tensor, 5, seed=0)
    bound = relative_error(tensor, terms) * 1.01
    turned = [matrix[:, [3, 1, 4, 0, 2]] for matrix in terms]
    turned[0], turned[2] = turned[0] * -8, turned[2] / -8
    one, other = (cp_epc(tensor, begin, bound=bound, max_sweeps=90) for begin in (terms, tuple(turned)))
    assert one.sweeps == other.sweeps
    assert sensitivity(one.columns) == pytest.approx(sensitivity(other.columns), rel=1e-5)


def test_the_tensors_size_and_the_order_of_modes_do_not_matter() -> None:
    tensor = trained_like(8, 5, 6)
    terms = cp_als(tensor, 5, seed=0)
    bound = relative_error(tensor, terms) * 1.01
    wanted = cp_epc(tensor, terms, bound=bound, max_sweeps=90)
    large = cp_epc(tensor * 1e6, (terms[0] * 1e6, *terms[1:]), bound=bound * (1 + 1e-12), max_sweeps=90)
    assert sensitivity(large.columns) == pytest.approx(1e8 * sensitivity(wanted.columns), rel=1e-5)
    turned = cp_epc(tensor.permute(2, 0, 1), (terms[2], terms[0], terms[1]), bound=bound * (1 + 1e-12), max_sweeps=90)
    assert [matrix.shape[0] for matrix in turned.columns] == [6, 8, 5]
    assert sensitivity(turned.columns) == pytest.approx(sensitivity(wanted.columns), rel=1e-5)


def test_the_same_seed_gives_the_same_bits() -> None:
    tensor = trained_like(6, 5, 4)
    terms = cp_als(tensor, 4, seed=0)
    runs = [cp_epc(tensor, terms, starts=3, seed=7, max_sweeps=60) for _ in range(2)]
    assert all(torch.equal(one, two) for one, two in zip(runs[0].columns, runs[1].columns, strict=True))


def test_more_starts_are_never_worse() -> None:
    tensor = trained_like(6, 5, 4)
    terms = cp_als(tensor, 4, seed=0, max_sweeps=10)
    found = [sensitivity(cp_epc(tensor, terms, starts=starts, max_sweeps=90).columns) for starts in (1, 2, 4)]
    assert found == sorted(found, reverse=True)


def test_more_terms_than_the_tensor_has_lose_nothing() -> None:
    tensor = contract(drawn((6, 5, 4), 2))
    start = drawn((6, 5, 4), 5)
    exact = tuple(
        torch.cat([two, 0 * five[:, :3]], dim=1) for two, five in zip(drawn((6, 5, 4), 2), start, strict=True)
    )
    found, _ = cp_epc(tensor, exact, bound=0.01)
    assert all(matrix.isfinite().all() for matrix in found)
    assert relative_error(tensor, found) <= 0.01
    assert sensitivity(found) < sensitivity(exact)


def test_exact_terms_stay_as_they_are() -> None:
    exact = drawn((6, 5, 4), 2)
    found, sweeps = cp_epc(contract(exact), exact, bound=1e-9)
    assert sweeps == 0
    assert all(torch.equal(one, two) for one, two in zip(found, least_sensitive(exact), strict=True))


def test_zeros_stay_zeros_and_a_bound_above_the_tensor_needs_no_terms() -> None:
    zeros = tuple(torch.zeros(side, 2, dtype=torch.float64) for side in (4, 3, 2))
    assert not any(matrix.any() for matrix in cp_epc(torch.zeros(4, 3, 2, dtype=torch.float64), zeros).columns)
    tensor = trained_like(4, 3, 2)
    assert not any(matrix.any() for matrix in cp_epc(tensor, cp_als(tensor, 2, seed=0), bound=1.0).columns)


def test_a_start_above_the_bound_is_refused() -> None:
    tensor = trained_like(4, 3, 2)
    terms = cp_als(tensor, 1, seed=0)
    error = relative_error(tensor, terms)
    with pytest.raises(ValueError, match=f"bound: got 0.001, wanted at least the error of the start, {error:g}"):
        cp_epc(tensor, terms, bound=1e-3)
