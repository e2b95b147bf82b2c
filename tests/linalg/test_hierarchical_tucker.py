import pytest
import torch
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg.hierarchical_tucker import Tree, hierarchical_tucker
from tnbench.linalg.hosvd import hosvd
from tnbench.linalg.tucker import hooi


def contract(tree: Tree) -> Tensor:
    return torch.einsum("or,is,rsf,f...->oi...", tree.out, tree.inp, tree.pairs, tree.filters)


def planted(ranks: tuple[int, int, int]) -> Tensor:
    rO, rI, S = ranks
    return contract(Tree(trained_like(10, rO), trained_like(8, rI), trained_like(rO, rI, S), trained_like(S, 3, 5)))


@pytest.mark.parametrize("solve", [hooi, hosvd])
@pytest.mark.parametrize("ranks", [(4, 3, 2), (1, 1, 1), (6, 5, 4)])
def test_planted_trees_are_found(solve: object, ranks: tuple[int, int, int]) -> None:
    tensor = planted(ranks)
    tree = hierarchical_tucker(tensor, ranks, solve)  # type: ignore[arg-type]
    assert [tuple(part.shape) for part in tree] == [(10, ranks[0]), (8, ranks[1]), ranks, (ranks[2], 3, 5)]
    assert error(tensor, contract(tree)) < 1e-12


def test_frames_are_orthonormal() -> None:
    tree = hierarchical_tucker(trained_like(10, 8, 3, 3), (4, 3, 2))
    for frame in (tree.out, tree.inp, tree.filters.flatten(1).T):
        assert torch.allclose(frame.T @ frame, torch.eye(frame.shape[1], dtype=torch.float64), atol=1e-12)


def test_iteration_is_no_worse_than_singular_vectors() -> None:
    tensor = torch.randn(16, 16, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    iterated, begun = (
        error(tensor, contract(hierarchical_tucker(tensor, (5, 5, 4), solve))) for solve in (hooi, hosvd)
    )
    assert iterated < 0.999 * begun


@pytest.mark.parametrize("sides", [(5,), (3, 3), (3, 2, 3)])
def test_full_ranks_reproduce_kernels_of_any_dimensions(sides: tuple[int, ...]) -> None:
    tensor = trained_like(6, 4, *sides)
    ranks = (6, 4, tensor[0, 0].numel())
    assert error(tensor, contract(hierarchical_tucker(tensor, ranks))) < 1e-12
