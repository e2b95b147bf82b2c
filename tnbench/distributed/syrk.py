"""A symmetric product A A' over ranks, of which only a triangle is computed and sent.

Al Daas, Ballard, Grigori, Kumar and Rouse, "Parallel memory-independent communication bounds for SYRK" (SPAA 2023).
Where A has many columns for its rows they are spread over the ranks (1-D), and a triangle of the product is summed.
Where it has few, its rows are spread (2-D), and each rank computes a *triangle block*: all pairs of the row blocks that
it has, so that it needs sqrt(2) times fewer rows than for as large a square of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.distributed import triangle
from tnbench.distributed.collectives import Group, exchange, rank_in, reduce_scatter, size
from tnbench.distributed.gram import local_gram
from tnbench.distributed.grid import block, padded, piece
from tnbench.distributed.volume import Volume, call, total

Pair = tuple[int, int]


def channel_gram(samples: Tensor, group: Group = None) -> Tensor:
    """C (c, c) on every rank: the sum over all ranks' `samples` (b, c, ...) and places of x x', x the c channels.

    1-D: no sample moves, and half of the matrix is all-reduced. c (c + 1) b h w flops; see `channel_gram_cost`.
    """
    return triangle.reduced(local_gram(samples, 1), group)


def channel_gram_cost(samples: int, channels: int, places: int, ranks: int) -> Volume:
    """Of `channel_gram` with `samples` samples of `places` places each on a rank."""
    work = Volume(float(samples * places) * channels * (channels + 1))
    return total([work, triangle.reduced_cost(channels, ranks)])


def syrk_1d(columns: Tensor, group: Group = None) -> Tensor:
    """This rank's part of the packed triangle of A A', for the ranks' `columns` (n, m_p) of A: (ceil(n(n+1)/2 / P),).

    Parts follow each other in the order of ranks, with zeros at the end. n (n + 1) m / P flops and n(n+1)/2 words
    reduce-scattered, which is the least there is where m is large.
    """
    numbers, ranks = triangle.packed(local_gram(columns, 0)), size(group)
    return reduce_scatter(padded(numbers, 0, ranks * block(len(numbers), ranks)), 0, group)


def syrk_1d_cost(n: int, columns: int, ranks: int) -> Volume:
    """Of `syrk_1d` with `columns` columns on a rank."""
    words = ranks * block(triangle.size(n), ranks)
    return total([Volume(float(columns) * n * (n + 1)), call(words, ranks, 2 * words)])


class Triangles(NamedTuple):
    """Which row blocks each rank works on: any two blocks meet on exactly one rank, which has their product."""

    blocks: int
    sets: tuple[tuple[int, ...], ...]
    """The row blocks of each rank, rising."""
    diagonal: tuple[int | None, ...]
    """The block whose product with itself each rank has; no block is had twice."""

    def holders(self, row_block: int) -> list[int]:
        """The ranks that work on a row block."""
        return [rank for rank, rows in enumerate(self.sets) if row_block in rows]


def triangles(ranks: int) -> Triangles:
    """Triangle blocks for P = c (c + 1), c prime: c² row blocks, c on each rank; and for 3: 3 row blocks, 2 on each.

    The sets are the lines of the affine plane of order c: two points are on exactly one line.

    >>> triangles(6).sets
    ((0, 1), (2, 3), (0, 3), (1, 2), (0, 2), (1, 3))
    """
    if ranks == 3:
        return Triangles(3, ((0, 1), (0, 2), (1, 2)), (0, 2, 1))
    c = next((c for c in range(2, ranks) if c * (c + 1) == ranks and all(c % d for d in range(2, c))), 0)
    if c == 0:
        raise ValueError(f"got {ranks} ranks, wanted 3 or c(c + 1) for a prime c, such as 6, 12 or 30")
    sloped = [
        tuple(sorted(x * 1 + c * ((slope * x + at) % c) for x in range(c))) for slope in range(c) for at in range(c)
    ]
    upright = [tuple(x + c * y for y in range(c)) for x in range(c)]
    sets = (*sloped, *upright)
    return Triangles(c * c, sets, _diagonals(c * c, sets))


def syrk_2d(mine: Sequence[Tensor], rows: int, group: Group = None) -> dict[Pair, Tensor]:
    """The blocks (i, j), i <= j, of A A' that `triangles` gives this rank: its pairs, and its block of the diagonal.

    `mine` are this rank's parts of its row blocks (ceil(n / blocks), m_p) as `row_parts` cuts them: a row block's
    columns are shared by the ranks that work on it. Each sends its parts to those, in one exchange of
    c · c · (n / c²) · m / (c + 1) words, about n m / sqrt(P): see `syrk_2d_cost`.
    """
    plan, rank = triangles(size(group)), rank_in(group)
    sends, receives, whole = [], [], {}
    for row_block, part in zip(plan.sets[rank], mine, strict=True):
        parts = {holder: part if holder == rank else torch.empty_like(part) for holder in plan.holders(row_block)}
        sends += [(holder, part) for holder in parts if holder != rank]
        receives += [(holder, got) for holder, got in parts.items() if holder != rank]
        whole[row_block] = parts
    exchange(sends, receives, group)
    full = {row_block: torch.cat(list(parts.values()), 1) for row_block, parts in whole.items()}
    products = {(i, j): full[i] @ full[j].T for i, j in combinations(plan.sets[rank], 2)}
    own = plan.diagonal[rank]
    if own is not None:
        products[own, own] = local_gram(full[own], 0)
    return products


def row_parts(matrix: Tensor, group: Group = None) -> list[Tensor]:
    """This rank's parts of the row blocks that it works on, of a `matrix` (n, m) that every rank has."""
    plan, rank = triangles(size(group)), rank_in(group)
    parts = []
    for row_block in plan.sets[rank]:
        holders = plan.holders(row_block)
        rows = piece(matrix, 0, plan.blocks, row_block)
        parts.append(piece(rows, 1, len(holders), holders.index(rank)).contiguous())
    return parts


def syrk_2d_cost(n: int, m: int, ranks: int) -> Volume:
    """Of `syrk_2d`: every rank sends each of its parts to all others that work on the row block."""
    plan = triangles(ranks)
    rows, held = block(n, plan.blocks), len(plan.sets[0])
    sharing = len(plan.holders(0))
    columns = block(m, sharing)
    products = len(list(combinations(range(held), 2))) * 2.0 * rows * rows + rows * (rows + 1)
    return Volume(
        products * columns * sharing, held * (sharing - 1) * rows * columns, 1, held * rows * columns * sharing
    )


def _diagonals(blocks: int, sets: Sequence[Sequence[int]]) -> tuple[int | None, ...]:
    """One block of the diagonal for some ranks, none twice: a matching along augmenting paths (Kuhn 1955)."""
    holder: dict[int, int] = {}

    def placed(row_block: int, tried: set[int]) -> bool:
        for rank, rows in enumerate(sets):
            if row_block in rows and rank not in tried:
                tried.add(rank)
                before = next((other for other, had in holder.items() if had == rank), None)
                if before is None or placed(before, tried):
                    holder[row_block] = rank
                    return True
        return False

    for row_block in range(blocks):
        placed(row_block, set())
    own = {rank: row_block for row_block, rank in holder.items()}
    return tuple(own.get(rank) for rank in range(len(sets)))
