"""Tangent projection and retraction of tensor trains of fixed ranks."""

import pytest
import torch
from torch import Tensor

from tnbench.linalg.tt import contract, largest_ranks, tt_svd
from tnbench.linalg.tt_manifold import TrainPoint, nearby_train, retracted, tangent, tangent_tensor

CASES = [((6, 5), (2,)), ((6, 3, 3, 8), (3, 5, 4)), ((4, 2, 3, 2, 5), (2, 3, 3, 2))]


def drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def train_ranks(tensor: Tensor) -> tuple[int, ...]:
    bonds = range(1, tensor.dim())
    unfoldings = (tensor.reshape(tensor.shape[:bond].numel(), -1) for bond in bonds)
    return tuple(int(torch.linalg.matrix_rank(matrix, rtol=1e-9)) for matrix in unfoldings)


def are_orthonormal(point: TrainPoint) -> bool:
    rows = [core.flatten(1) for core in point.right[1:]] + [core.flatten(0, 1).T for core in point.left[:-1]]
    return all(torch.allclose(one @ one.T, torch.eye(len(one), dtype=one.dtype), atol=1e-12) for one in rows)


@pytest.mark.parametrize(("sizes", "ranks"), CASES)
def test_a_point_is_one_train_in_two_gauges(sizes, ranks):
    point = nearby_train(drawn(*sizes), ranks)
    assert point.ranks == ranks
    assert are_orthonormal(point)
    assert torch.allclose(contract(point.left), contract(point.right), atol=1e-10)


@pytest.mark.parametrize(("sizes", "ranks"), CASES)
def test_the_projection_is_orthogonal_and_leaves_tangent_vectors_alone(sizes, ranks):
    point, ambient = nearby_train(drawn(*sizes), ranks), drawn(*sizes, seed=1)
    along = tangent_tensor(point, tangent(point, ambient))
    assert torch.allclose(tangent_tensor(point, tangent(point, along)), along, atol=1e-10)
    assert abs(float(((ambient - along) * along).sum())) < 1e-9 * float(ambient.square().sum())
    assert 0 < float(along.norm()) < float(ambient.norm())
    assert torch.allclose(tangent_tensor(point, tangent(point, point.tensor)), point.tensor, atol=1e-10)


@pytest.mark.parametrize(("sizes", "ranks"), CASES)
def test_velocities_of_curves_on_the_manifold_are_tangent(sizes, ranks):
    point, tiny = nearby_train(drawn(*sizes), ranks), 1e-6
    moved = [core + tiny * drawn(*core.shape, seed=2 + place) for place, core in enumerate(point.left)]
    velocity = (contract(moved) - point.tensor) / tiny
    along = tangent_tensor(point, tangent(point, velocity))
    assert float((along - velocity).norm()) < 1e-4 * float(velocity.norm())


@pytest.mark.parametrize(("sizes", "ranks"), CASES)
def test_variations_are_in_the_gauge_in_which_they_are_unique(sizes, ranks):
    point = nearby_train(drawn(*sizes), ranks)
    for core, variation in list(zip(point.left, tangent(point, drawn(*sizes, seed=1)), strict=True))[:-1]:
        assert variation.shape == core.shape
        assert torch.allclose(core.flatten(0, 1).T @ variation.flatten(0, 1), torch.zeros(()).double(), atol=1e-10)


@pytest.mark.parametrize(("sizes", "ranks"), CASES)
def test_a_retraction_stays_on_the_manifold_and_leaves_the_tangent_to_second_order(sizes, ranks):
    point, ambient = nearby_train(drawn(*sizes), ranks), drawn(*sizes, seed=1)
    errors = []
    for size in (1e-2, 1e-3):
        variations = tangent(point, size * ambient)
        after = retracted(point, variations)
        assert are_orthonormal(after)
        assert after.ranks == ranks == train_ranks(after.tensor)
        errors.append(float((after.tensor - point.tensor - tangent_tensor(point, variations)).norm()))
    assert errors[1] < errors[0] / 50


def test_at_the_largest_ranks_every_direction_is_tangent():
    sizes = (4, 3, 5)
    point = nearby_train(drawn(*sizes), largest_ranks(sizes))
    ambient = drawn(*sizes, seed=1)
    assert torch.allclose(tangent_tensor(point, tangent(point, ambient)), ambient, atol=1e-10)
    assert torch.allclose(nearby_train(ambient, (2, 2)).tensor, contract(tt_svd(ambient, (2, 2))), atol=1e-10)
