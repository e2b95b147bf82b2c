from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linalg_kernels import error, trained_like
from torch import Tensor

from tnbench.linalg.block_term import Blocks, assembled, block_term, tiles
from tnbench.linalg.multilinear import expanded
from tnbench.linalg.tucker import tucker2


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(O: int, I: int, ranks: tuple[int, int], blocks: int) -> Tensor:
    return assembled(
        Blocks(noise(blocks, *ranks, 3, 3), noise(blocks, O, ranks[0], seed=1), noise(blocks, I, ranks[1], seed=2))
    )


@pytest.mark.parametrize(("ranks", "blocks"), [((2, 2), 3), ((3, 3), 3), ((4, 4), 4)])
def test_planted_blocks_are_found(ranks: tuple[int, int], blocks: int) -> None:
    tensor = planted(32, 28, ranks, blocks)
    assert error(tensor, assembled(block_term(tensor, ranks, blocks, max_sweeps=300, tolerance=1e-4))) < 1e-4


def test_one_block_is_tucker2() -> None:
    tensor = trained_like(12, 10, 3, 3)
    core, *factors = tucker2(tensor, (4, 3), tolerance=1e-6)
    found = block_term(tensor, (4, 3), 1, tolerance=1e-6)
    assert error(tensor, assembled(found)) == pytest.approx(error(tensor, expanded(core, factors, (0, 1))), rel=1e-4)


@pytest.mark.parametrize("tensor", [noise(24, 24, 3, 3), trained_like(24, 24, 3, 3)], ids=["flat", "decaying"])
def test_small_blocks_beat_one_of_as_many_weights(tensor: Tensor) -> None:
    """Four blocks of rank 4 take 1,344 weights, one Tucker-2 of rank 10 takes 1,380."""
    four = error(tensor, assembled(block_term(tensor, (4, 4), 4)))
    core, *factors = tucker2(tensor, (10, 10))
    assert four < 0.97 * error(tensor, expanded(core, factors, (0, 1)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 6]), st.integers(1, 6))
def test_ranks_of_the_tiles_are_enough(O: int, I: int, k: int, blocks: int) -> None:
    tensor = noise(O, I, k)
    found = block_term(tensor, tiles((O, I), blocks), blocks)
    assert len(found.cores) == blocks
    assert error(tensor, assembled(found)) < 1e-12


@pytest.mark.parametrize(
    ("sides", "blocks", "tile"),
    [((64, 32), 4, (16, 32)), ((9, 9), 2, (5, 9)), ((64, 1), 4, (16, 1)), ((7, 5), 1, (7, 5))],
)
def test_tiles_cover_the_grid_with_the_fewest_weights(
    sides: tuple[int, int], blocks: int, tile: tuple[int, int]
) -> None:
    assert tiles(sides, blocks) == tile


def test_more_sweeps_never_raise_the_error() -> None:
    tensor = noise(10, 9, 3, 3)
    errors = [error(tensor, assembled(block_term(tensor, (2, 3), 3, max_sweeps=n, tolerance=0))) for n in range(12)]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(errors))
    assert errors[-1] < 0.99 * errors[0]


def test_a_warm_start_never_ends_above_its_beginning() -> None:
    tensor, start, last = trained_like(12, 12, 3, 3), None, 1.0
    for rank in range(1, 7):
        start = block_term(tensor, (rank, rank), 4, start=start, max_sweeps=3)
        reached = error(tensor, assembled(start))
        assert reached <= last * (1 + 1e-9)
        last = reached
    assert last < 1e-12


@pytest.mark.parametrize(
    "tensor", [torch.zeros(6, 5, 3, 3).double(), noise(1, 5, 3, 3).expand(6, 5, 3, 3)], ids=["zeros", "deficient"]
)
@pytest.mark.parametrize("ranks", [(1, 1), (2, 2), (3, 3)])
def test_zeros_and_deficient_tensors(tensor: Tensor, ranks: tuple[int, int]) -> None:
    found = block_term(tensor, ranks, 4)
    assert all(bool(part.isfinite().all()) for part in found)
    if not tensor.any():
        assert not assembled(found).any()
