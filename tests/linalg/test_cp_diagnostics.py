import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tnbench.linalg.cp_diagnostics import cancellation, congruence, least_sensitive, raw_sensitivity, sensitivity

shapes = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def drawn(shape: list[int], terms: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(side, terms, generator=generator, dtype=torch.float64) for side in shape]


def contract(columns: list[Tensor]) -> Tensor:
    modes = "abcd"[: len(columns)]
    return torch.einsum(",".join(f"{mode}r" for mode in modes) + "->" + modes, *columns)


@pytest.mark.parametrize("shape", [[5, 4], [4, 3, 6], [3, 2, 4, 2]])
def test_sensitivity_is_what_noise_in_the_columns_does(shape: list[int]) -> None:
    columns, size, draws = drawn(shape, 3), 1e-4, 4000
    generator = torch.Generator().manual_seed(1)
    exact, total = contract(columns), 0.0
    for _ in range(draws):
        noise = [torch.randn(matrix.shape, generator=generator, dtype=torch.float64) for matrix in columns]
        moved = contract([matrix + size * error for matrix, error in zip(columns, noise, strict=True)])
        total += float((moved - exact).square().sum()) / size**2
    assert total / draws == pytest.approx(raw_sensitivity(columns), rel=0.05)


def test_sensitivity_of_three_modes_is_the_papers_formula() -> None:
    a, b, c = drawn([5, 4, 3], 2)
    A, B, C = (matrix.square().sum(dim=0) for matrix in (a, b, c))
    assert raw_sensitivity([a, b, c]) == pytest.approx(float((5 * B * C + 4 * A * C + 3 * A * B).sum()))


@given(shape=shapes, terms=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_scaling_within_terms_is_less_sensitive(shape: list[int], terms: int, seed: int) -> None:
    columns = drawn(shape, terms, seed)
    best = least_sensitive(columns)
    assert torch.allclose(contract(list(best)), contract(columns))
    assert raw_sensitivity(best) == pytest.approx(sensitivity(columns))
    scales = drawn([1] * (len(shape) - 1), terms, seed + 1)
    scales.append(1 / torch.stack(scales).prod(dim=0))
    other = [matrix * scale for matrix, scale in zip(columns, scales, strict=True)]
    assert torch.allclose(contract(other), contract(columns))
    assert raw_sensitivity(best) <= raw_sensitivity(other) * (1 + 1e-9)


def test_a_term_of_zeros_stays_one_and_counts_for_nothing() -> None:
    columns = drawn([4, 3, 2], 3)
    columns[1][:, 1] = 0
    best = least_sensitive(columns)
    assert all(matrix.isfinite().all() and not matrix[:, 1].any() for matrix in best)
    without = [matrix[:, [0, 2]] for matrix in columns]
    assert sensitivity(columns) == pytest.approx(sensitivity(without))
    assert congruence(columns) == pytest.approx(congruence(without))


def test_congruence_is_the_largest_product_of_cosines() -> None:
    columns = drawn([4, 3, 2], 5)
    pairs = [
        abs(math.prod(float(torch.cosine_similarity(matrix[:, p], matrix[:, q], dim=0)) for matrix in columns))
        for p in range(5)
        for q in range(p)
    ]
    assert congruence(columns) == pytest.approx(max(pairs))
    assert congruence([matrix * torch.tensor([1.0, -7, 3, 1e-9, 5]) for matrix in columns]) == pytest.approx(max(pairs))
    assert congruence(drawn([4, 3, 2], 1)) == 0


def test_terms_of_a_degenerate_pair_are_congruent_and_cancel() -> None:
    a, b = torch.eye(2, dtype=torch.float64)
    far = 100.0
    pair = [torch.stack([a + b / far, a], dim=1) for _ in range(3)]
    pair[0] = pair[0] * torch.tensor([far, -far])
    assert congruence(pair) > 0.999
    assert cancellation(pair, contract(pair).norm()) > 100


def test_cancellation_is_one_for_terms_apart_from_each_other_and_at_least_one() -> None:
    apart = [torch.tensor([[3.0], [4.0]]), torch.tensor([[2.0]])]
    assert cancellation(apart, contract(apart).norm()) == pytest.approx(1)
    columns = drawn([4, 3, 2], 6)
    assert cancellation(columns, contract(columns).norm()) >= 1


def test_cancellation_of_a_kernel_of_zeros() -> None:
    columns = drawn([3, 2], 2)
    assert cancellation(columns, 0.0) == math.inf
    assert cancellation([torch.zeros(3, 2), torch.zeros(2, 2)], torch.zeros(())) == 0
