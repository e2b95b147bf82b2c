"""Tangent projection, retraction and rank-adaptive steps of tensors of one multilinear rank."""

import pytest
import torch
from torch import Tensor

from tnbench.linalg.multilinear import unfold
from tnbench.linalg.tucker_manifold import TuckerPoint, nearby_point, rank_adaptive_step, retracted, tangent

CASES = [((9, 7), (3, 3), (0, 1)), ((8, 6, 3, 3), (2, 4), (1, 0)), ((8, 6, 3, 2), (3, 4, 2, 1), (1, 0, 2, 3))]


def drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point_of(sizes: tuple[int, ...], ranks: tuple[int, ...], modes: tuple[int, ...]) -> TuckerPoint:
    return nearby_point(drawn(*sizes), ranks, modes)


def is_orthonormal(point: TuckerPoint) -> bool:
    return all(
        torch.allclose(basis.T @ basis, torch.eye(basis.shape[1], dtype=basis.dtype), atol=1e-12)
        for basis in point.bases
    )


def multilinear_ranks(tensor: Tensor, modes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(torch.linalg.matrix_rank(unfold(tensor, mode), rtol=1e-9)) for mode in modes)


@pytest.mark.parametrize(("sizes", "ranks", "modes"), CASES)
def test_the_projection_is_orthogonal_and_leaves_tangent_vectors_alone(sizes, ranks, modes):
    point, ambient = point_of(sizes, ranks, modes), drawn(*sizes, seed=1)
    along = tangent(point, ambient)
    assert torch.allclose(tangent(point, along), along, atol=1e-10)
    assert abs(float(((ambient - along) * along).sum())) < 1e-9 * float(ambient.square().sum())
    assert 0 < float(along.norm()) < float(ambient.norm())
    assert torch.allclose(tangent(point, point.tensor), point.tensor, atol=1e-10)


@pytest.mark.parametrize(("sizes", "ranks", "modes"), CASES)
def test_velocities_of_curves_on_the_manifold_are_tangent(sizes, ranks, modes):
    point, tiny = point_of(sizes, ranks, modes), 1e-6
    moved = TuckerPoint(
        point.core + tiny * drawn(*point.core.shape, seed=2),
        tuple(basis + tiny * drawn(*basis.shape, seed=3 + place) for place, basis in enumerate(point.bases)),
        modes,
    )
    velocity = (moved.tensor - point.tensor) / tiny
    assert float((tangent(point, velocity) - velocity).norm()) < 1e-4 * float(velocity.norm())


@pytest.mark.parametrize(("sizes", "ranks", "modes"), CASES)
def test_a_retraction_stays_on_the_manifold_and_leaves_the_tangent_to_second_order(sizes, ranks, modes):
    point, ambient = point_of(sizes, ranks, modes), drawn(*sizes, seed=1)
    along = tangent(point, ambient)
    errors = []
    for size in (1e-2, 1e-3):
        after = retracted(point, size * along)
        assert is_orthonormal(after)
        assert after.ranks == ranks == multilinear_ranks(after.tensor, modes)
        errors.append(float((after.tensor - point.tensor - size * along).norm()))
    assert errors[1] < errors[0] / 50  # 100 times less, for a tenth of the step


@pytest.mark.parametrize(("sizes", "ranks", "modes"), CASES)
def test_ranks_fall_to_what_the_tolerance_asks_for_and_rise_again(sizes, ranks, modes):
    point, still = point_of(sizes, ranks, modes), torch.zeros(sizes, dtype=torch.float64)
    cut = rank_adaptive_step(point, still, tolerance=0.9, most=ranks)
    assert is_orthonormal(cut)
    assert sum(cut.ranks) < sum(ranks)
    assert float((cut.tensor - point.tensor).norm()) <= 0.9 * float(point.tensor.norm())
    risen = rank_adaptive_step(cut, drawn(*sizes, seed=5), tolerance=0.0, most=ranks)
    assert is_orthonormal(risen)
    assert sum(cut.ranks) < sum(risen.ranks) <= sum(ranks)


@pytest.mark.parametrize(("sizes", "ranks", "modes"), CASES)
def test_a_step_towards_a_point_of_the_ranks_gets_there(sizes, ranks, modes):
    """The integrator's exactness: Galerkin bases that hold start and end reproduce the end."""
    point, end = point_of(sizes, ranks, modes), nearby_point(drawn(*sizes, seed=6), ranks, modes)
    there = rank_adaptive_step(point, end.tensor - point.tensor, tolerance=0.0, most=ranks)
    assert torch.allclose(there.tensor, end.tensor, atol=1e-9)


def test_both_modes_of_a_matrix_have_one_rank():
    for seed in range(20):
        matrix = drawn(9, 7, seed=seed)
        point = rank_adaptive_step(nearby_point(matrix, (6, 6), (0, 1)), matrix, tolerance=0.3, most=(6, 6))
        assert point.ranks[0] == point.ranks[1] < 6


def test_a_matrix_that_is_cut_loses_the_least_that_its_rank_can():
    matrix = drawn(9, 7)
    cut = rank_adaptive_step(nearby_point(matrix, (7, 7), (0, 1)), torch.zeros_like(matrix), tolerance=0.4, most=(7, 7))
    values = torch.linalg.svdvals(matrix)
    assert torch.isclose((matrix - cut.tensor).norm(), values[cut.ranks[0] :].norm())
