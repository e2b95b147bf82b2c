"""Bounds: tight where the papers say so, and beaten by no algorithm."""

from __future__ import annotations

import itertools
import random

import pytest

from tnbench.distributed.bounds import (
    all_reduce_words,
    amdahl,
    best_matmul_grid,
    matmul_grid_words,
    matmul_words,
    serial_share,
    syrk_words,
)


def some_products(count: int) -> list[tuple[tuple[int, int, int], int]]:
    drawn = random.Random(0)
    sides = [(2 ** drawn.randint(2, 12), 2 ** drawn.randint(2, 12), 2 ** drawn.randint(2, 12)) for _ in range(count)]
    return [(each, 2 ** drawn.randint(0, 10)) for each in sides]


def test_the_best_grid_never_beats_the_bound_and_stays_near_it() -> None:
    ratios = []
    for sides, ranks in some_products(400):
        words, bound = matmul_grid_words(sides, best_matmul_grid(sides, ranks)), matmul_words(sides, ranks)
        assert words >= bound * (1 - 1e-9) - 1e-6, (sides, ranks)
        if bound > 1:
            ratios.append(words / bound)
    assert sorted(ratios)[len(ratios) // 2] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("sides", "ranks", "grid"),
    [((4096, 64, 16), 64, (64, 1, 1)), ((512, 512, 8), 16, (4, 4, 1)), ((256, 256, 256), 64, (4, 4, 4))],
)
def test_the_bound_is_reached_in_all_three_cases(
    sides: tuple[int, int, int], ranks: int, grid: tuple[int, int, int]
) -> None:
    assert matmul_grid_words(sides, best_matmul_grid(sides, ranks)) == matmul_grid_words(sides, grid)
    assert matmul_grid_words(sides, grid) == pytest.approx(matmul_words(sides, ranks))


def test_the_bound_does_not_depend_on_the_order_of_sides_and_falls_to_nothing_on_one_rank() -> None:
    for sides in itertools.permutations((8, 64, 1024)):
        assert matmul_words((sides[0], sides[1], sides[2]), 16) == matmul_words((8, 64, 1024), 16)
        assert matmul_words((sides[0], sides[1], sides[2]), 1) == 0.0


def test_a_gram_matrix_has_a_lower_bound_than_a_product_and_a_sum_of_triangles_keeps_it() -> None:
    for rows, columns, ranks in itertools.product((2, 16, 256), (4, 1024, 10**6), (2, 8, 64)):
        bound = syrk_words(rows, columns, ranks)
        assert bound <= matmul_words((rows, columns, rows), ranks) + 1e-9
        triangle = rows * (rows + 1) / 2  # by columns of A: each rank's triangle, reduced and scattered
        assert bound <= (ranks - 1) / ranks * triangle + 1e-9


@pytest.mark.parametrize("columns", [10**4, 10**7])
def test_the_gram_matrix_of_a_wide_matrix_is_bounded_by_its_triangle(columns: int) -> None:
    rows, ranks = 64, 8
    reduced_and_scattered = (ranks - 1) / ranks * rows * (rows - 1) / 2
    assert 0.95 * reduced_and_scattered < syrk_words(rows, columns, ranks) <= reduced_and_scattered


def test_one_row_or_one_rank_sends_nothing() -> None:
    assert syrk_words(1, 100, 4) == syrk_words(16, 0, 4) == syrk_words(16, 100, 1) == 0.0
    assert all_reduce_words(100, 1) == 0.0


def test_amdahls_law_and_its_inverse() -> None:
    for share, ranks in itertools.product((0.0, 0.1, 0.5, 1.0), (2, 8, 1024)):
        assert serial_share(amdahl(share, ranks), ranks) == pytest.approx(share)
        assert 1.0 <= amdahl(share, ranks) <= ranks
    with pytest.raises(ValueError, match="got a serial share of 2, wanted one from 0 to 1"):
        amdahl(2.0, 2)
    with pytest.raises(ValueError, match="got 1 rank, wanted at least 2"):
        serial_share(1.0, 1)
