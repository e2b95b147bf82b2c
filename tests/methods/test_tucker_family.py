"""Singular values and Tucker's relatives as methods: counts, solvers, awareness of data, spectra and modules."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Pixels, Stats
from tnbench.layers.expanded import ExpandedCore
from tnbench.linalg.whitening import root_and_inverse
from tnbench.methods import block_term, hierarchical_tucker, svd, svd_spatial, tucker, tucker2
from tnbench.testing.methods import ALGEBRA, GEOMETRY, LAYERS, sample_layer

SHAPE, PIXELS = (8, 6, 3, 5), Pixels(100, 50, 20)
FAMILY = [svd, svd_spatial, tucker2, tucker, hierarchical_tucker, block_term]
UNFOLDED = [svd, svd_spatial, tucker2, tucker, hierarchical_tucker]
EXPANDED = [(tucker, (3, 4, 2, 2)), (hierarchical_tucker, (3, 4, 2))]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(weight: Tensor, approximation: Tensor) -> float:
    return float(torch.dist(weight, approximation) / weight.norm())


def solved(method: Any, weight: Tensor, ranks: tuple[int, ...], stats: Stats | None = None, **options: Any) -> Tensor:
    factors = method.factorise(weight, ranks, seed=0, options=method.Options(**options), stats=stats)
    dense: Tensor = method.dense(factors)
    return dense


def moment_of(channels: int, offsets: int) -> Stats:
    mixed = noise(channels * offsets, channels * offsets, seed=5) / torch.arange(1, channels * offsets + 1)
    return Stats(mixed @ mixed.T + 1e-4 * torch.eye(len(mixed), dtype=torch.float64), channels, 1e-4, "digest")


@pytest.mark.parametrize(
    ("method", "ranks", "weights", "macs"),
    [
        (svd_spatial, (4,), 4 * (18 + 40), 4 * (18 * 50 + 40 * 20)),
        (tucker, (2, 3, 2, 4), 6 * 2 + 8 * 3 + 2 * 3 * 8 + 3 * 2 + 5 * 4, 12 * 100 + (2 * 3 * 15 + 24) * 20),
        (hierarchical_tucker, (2, 3, 4), 6 * 2 + 8 * 3 + 2 * 3 * 4 + 4 * 15, 12 * 100 + (2 * 3 * 15 + 24) * 20),
    ],
)
def test_counts_of_a_convolution(method: Any, ranks: tuple[int, ...], weights: int, macs: int) -> None:
    assert method.count(SHAPE, ranks) == weights
    assert method.macs(SHAPE, ranks, PIXELS) == macs


def test_counts_of_block_terms() -> None:
    three = block_term.Options(blocks=3)
    assert block_term.count(SHAPE, (2, 3), options=three) == 3 * (6 * 2 + 2 * 3 * 15 + 3 * 8)
    assert block_term.macs(SHAPE, (2, 3), PIXELS, options=three) == 3 * (12 * 100 + (90 + 24) * 20)
    assert block_term.macs((8, 6, 1, 1), (3,), PIXELS, options=three) == 3 * 14 * 20


def test_largest_ranks() -> None:
    assert svd_spatial.largest_ranks(SHAPE) == (18,)
    assert tucker.largest_ranks(SHAPE) == (6, 8, 3, 5)
    assert tucker.largest_ranks((64, 1, 3, 3)) == (1, 9, 3, 3)
    assert hierarchical_tucker.largest_ranks((3, 2, 3, 3)) == (2, 3, 6)
    assert tucker2.largest_ranks((8, 6, 3, 2, 3)) == (6, 8)
    assert block_term.largest_ranks(SHAPE, options=block_term.Options(blocks=4)) == (3, 4)
    assert block_term.largest_ranks((9, 9, 3), options=block_term.Options(blocks=2)) == (9, 5)


@pytest.mark.parametrize("method", [tucker, tucker2, hierarchical_tucker, block_term])
def test_a_linear_layer_becomes_its_truncated_svd(method: Any) -> None:
    weight = noise(10, 14)
    assert torch.allclose(solved(method, weight, (3,)), solved(svd, weight, (3,)))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(UNFOLDED[2:]),
    st.tuples(*[st.integers(1, 6)] * 2),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.floats(0.05, 1.0),
)
def test_the_error_is_within_what_the_spectra_say(
    method: Any, channels: tuple[int, int], sides: list[int], share: float
) -> None:
    """The squared error is at most the sum of what is cut, and at least the largest part of it."""
    weight = noise(*channels, *sides)
    largest = method.largest_ranks(tuple(weight.shape))
    ranks = method.useful_ranks(tuple(weight.shape), tuple(max(1, int(rank * share)) for rank in largest))
    spectra = [torch.linalg.svdvals(matrix) for matrix in method.unfoldings(weight)]
    assert [rank <= len(values) for rank, values in zip(largest, spectra, strict=True)] == [True] * len(largest)
    cut = [float(values[rank:].square().sum()) for rank, values in zip(ranks, spectra, strict=True)]
    squared = float((weight - solved(method, weight, ranks)).square().sum())
    assert max(cut) * (1 - 1e-9) - 1e-12 <= squared <= sum(cut) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("method", [svd, svd_spatial])
def test_singular_values_left_out_are_the_error(method: Any) -> None:
    weight = noise(7, 5, 3, 3)
    (matrix,) = method.unfoldings(weight)
    left_out = float(torch.linalg.svdvals(matrix)[4:].norm())
    assert float(torch.dist(weight, solved(method, weight, (4,)))) == pytest.approx(left_out)


@pytest.mark.parametrize(
    ("method", "ranks", "solvers"),
    [
        (svd, (4,), ["gram", "randomised", "tensorly"]),
        (svd_spatial, (4,), ["gram", "tensorly"]),
        (tucker2, (3, 4), ["hooi", "st_hosvd", "hosvd", "tensorly"]),
        (tucker, (3, 4, 2, 2), ["hooi", "st_hosvd", "hosvd", "tensorly"]),
        (hierarchical_tucker, (3, 4, 2), ["hooi", "hsvd", "tensorly"]),
    ],
)
def test_all_solvers_find_what_is_planted(method: Any, ranks: tuple[int, ...], solvers: list[str]) -> None:
    planted = solved(method, noise(9, 8, 3, 3), ranks)
    for solver in solvers:
        assert distance(planted, solved(method, planted, ranks, solver=solver)) < 1e-9, solver
        assert distance(planted, solved(method, planted.float(), ranks, solver=solver).double()) < 1e-5, solver


@pytest.mark.parametrize(
    ("method", "ranks"), [(tucker2, (3, 3)), (tucker, (3, 3, 2, 2)), (hierarchical_tucker, (3, 3, 3))]
)
def test_iteration_is_nearer_than_singular_vectors_and_as_near_as_tensorly(method: Any, ranks: tuple[int, ...]) -> None:
    weight = noise(12, 12, 3, 3)
    begin = "hsvd" if method is hierarchical_tucker else "hosvd"
    ours, begun, theirs = (
        distance(weight, solved(method, weight, ranks, solver=s)) for s in ("hooi", begin, "tensorly")
    )
    assert ours < 0.999 * begun
    assert ours <= 1.005 * theirs


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(("method", "ranks"), [(svd, (3,)), (tucker2, (3, 3))])
def test_an_aware_solver_lowers_the_error_of_outputs(method: Any, ranks: tuple[int, ...], linear: bool) -> None:
    weight = noise(8, 6) if linear else noise(8, 6, 3, 3)
    stats = moment_of(6, 1 if linear else 9)
    ranks = ranks[:1] if linear else ranks
    whole = stats.patches if method is svd or linear else torch.kron(stats.channel_moment, torch.eye(9).double())
    root, _ = root_and_inverse(whole)

    def outputs(approximation: Tensor) -> float:
        return float(((weight - approximation).flatten(1) @ root).norm())

    aware = solved(method, weight, ranks, stats, aware=True)
    assert outputs(aware) < 0.95 * outputs(solved(method, weight, ranks))
    if method is svd:
        assert outputs(aware) == pytest.approx(float(torch.linalg.svdvals(weight.flatten(1) @ root)[ranks[0] :].norm()))
    largest = method.largest_ranks(tuple(weight.shape))
    assert distance(weight, solved(method, weight, largest, stats, aware=True)) < 1e-9


@pytest.mark.parametrize("method", [svd, tucker2])
def test_an_aware_solver_without_pictures_is_refused(method: Any) -> None:
    assert method.needs_stats(method.Options(aware=True))
    assert not method.needs_stats(method.Options())
    with pytest.raises(NotApplicable, match="aware=true needs calibration pictures, got none"):
        solved(method, noise(4, 3, 3, 3), method.largest_ranks((4, 3, 3, 3)), aware=True)


@pytest.mark.parametrize("method", FAMILY)
def test_half_precision_is_solved_for_in_more(method: Any) -> None:
    weight, options = noise(8, 6, 3, 3).bfloat16(), method.Options()
    ranks = (
        (4,)
        if method in (svd, svd_spatial)
        else (2,) * (4 if method is tucker else 3 if method is hierarchical_tucker else 2)
    )
    factors = method.factorise(weight, ranks, seed=0, options=options)
    assert {factor.dtype for factor in factors} == {torch.bfloat16}
    exact = method.dense(method.factorise(weight.double(), ranks, seed=0, options=options))
    assert distance(exact, method.dense(tuple(factor.double() for factor in factors))) < 0.03


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Linear(4, 3), "it is a linear layer, which has no kernel to take apart; method svd serves it"),
        (nn.Conv1d(4, 3, 3), "its kernel has 1 spatial sides, wanted two to take apart"),
        (nn.Conv3d(4, 3, 3), "its kernel has 3 spatial sides, wanted two to take apart"),
    ],
)
def test_spatial_svd_needs_two_sides(layer: nn.Module, reason: str) -> None:
    assert svd_spatial.refuses(layer) == reason


@pytest.mark.parametrize("method", [tucker, hierarchical_tucker])
def test_modules_of_their_own_refuse_groups(method: Any) -> None:
    assert method.refuses(nn.Conv2d(6, 6, 3, groups=2)) == "it is a convolution of 2 groups, wanted one group"


@pytest.mark.parametrize(("method", "ranks"), EXPANDED)
@pytest.mark.parametrize(
    "name", ["3x3 stride (2,1)", "3x3 reflect", "3x5 same", "3x1 stride 2", "1x1 stride 2, padding 1"]
)
def test_an_expanded_layer_is_three_plain_convolutions(method: Any, ranks: tuple[int, ...], name: str) -> None:
    like = sample_layer(LAYERS[name]).double().eval()
    factors = method.factorise(like.weight.detach(), ranks, seed=0, options=method.Options())
    module, picture = method.layer(factors, like), noise(2, 6, 9, 10)
    assert isinstance(module, ExpandedCore)
    plain = module.to_sequential()
    assert [type(part) for part in plain] == [nn.Conv2d] * 3
    assert torch.allclose(plain(picture), module(picture))
    assert not plain.training
    plain[2].bias.data.add_(1)
    assert torch.equal(module.bias, like.bias)


@pytest.mark.parametrize(("method", "ranks"), EXPANDED)
def test_training_reaches_every_factor_of_an_expanded_layer(method: Any, ranks: tuple[int, ...]) -> None:
    like = sample_layer(LAYERS["3x3"])
    factors = method.factorise(like.weight.detach(), ranks, seed=0, options=method.Options())
    module = method.layer(factors, like)
    module(noise(2, 6, 9, 10).float()).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())
    frozen = method.layer(factors, like.requires_grad_(False))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert f"{ranks[1]}x{ranks[0]}" in repr(frozen)


def test_blocks_become_groups_of_the_middle_convolution() -> None:
    like, options = nn.Conv2d(8, 6, 3, padding=1), block_term.Options(blocks=3)
    factors = block_term.factorise(like.weight.detach(), (2, 3), seed=0, options=options)
    assert [tuple(factor.shape) for factor in factors] == [(6, 8, 1, 1), (9, 2, 3, 3), (6, 9, 1, 1)]
    assert [part.groups for part in block_term.layer(factors, like)] == [1, 3, 1]


@pytest.mark.parametrize("blocks", [1, 3])
def test_block_terms_of_any_number_keep_the_contract(blocks: int) -> None:
    for check in GEOMETRY + ALGEBRA:
        check(block_term, block_term.Options(blocks=blocks, iters=3), sample_layer(LAYERS["3x3"]))


@pytest.mark.parametrize("option", ["blocks", "iters"])
def test_numbers_that_mean_nothing_are_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"got {option} = 0, wanted a whole number from 1 on"):
        block_term.Options(**{option: 0})
