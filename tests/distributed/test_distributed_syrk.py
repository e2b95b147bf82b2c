"""Symmetric products on triangle blocks: each pair of blocks once, and at the cost of the formulas."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import pytest
import torch
from decomposed import counted, distance, is_cost, noise
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed import syrk
from tnbench.distributed.collectives import note_call, size
from tnbench.distributed.grid import block, subgroup
from tnbench.distributed.pool import RankPool
from tnbench.distributed.syrk import (
    channel_gram,
    channel_gram_cost,
    row_parts,
    syrk_1d,
    syrk_1d_cost,
    syrk_2d,
    syrk_2d_cost,
    triangles,
)
from tnbench.distributed.triangle import size as triangle_size
from tnbench.distributed.triangle import symmetric

Pair = tuple[int, int]

CHANNELS, SIZES = 5, [(6, 4), (7, 5), (2, 1)]


def one_dimensional(crew: Crew) -> list[Any]:
    samples = noise(3 * crew.world, CHANNELS, 2, 2)
    mine = samples[3 * crew.rank :][:3]
    columns = noise(CHANNELS, 4 * crew.world)[:, 4 * crew.rank :][:, :4]
    return [counted(partial(channel_gram, mine)), counted(partial(syrk_1d, columns))]


@pytest.mark.parametrize("ranks", [2, 4])
def test_triangles_are_summed(two_ranks: RankPool, four_ranks: RankPool, ranks: int) -> None:
    answers = (two_ranks if ranks == 2 else four_ranks).run(one_dimensional)
    channels = noise(3 * ranks, CHANNELS, 2, 2).movedim(1, 0).flatten(1)
    assert all(distance(found[0][0], channels @ channels.T) < 1e-12 for found in answers)
    assert is_cost([found[0][1] for found in answers], channel_gram_cost(3, CHANNELS, 4, ranks))
    numbers = torch.cat([found[1][0] for found in answers])[: triangle_size(CHANNELS)]
    matrix = noise(CHANNELS, 4 * ranks)
    assert distance(symmetric(numbers, CHANNELS), matrix @ matrix.T) < 1e-12
    assert is_cost([found[1][1] for found in answers], syrk_1d_cost(CHANNELS, 4, ranks))


def test_alone_the_triangle_is_whole() -> None:
    matrix = noise(CHANNELS, 4)
    assert distance(symmetric(syrk_1d(matrix), CHANNELS), matrix @ matrix.T) < 1e-12
    assert channel_gram_cost(3, CHANNELS, 4, 1).words == 0


def two_dimensional(crew: Crew, ranks: int) -> list[Any]:
    if crew.rank >= ranks:
        return []
    group = subgroup(range(ranks), None)
    assert size(group) == ranks
    found = []
    for rows, columns in SIZES:
        parts = row_parts(noise(rows, columns), group)
        found.append(counted(partial(syrk_2d, parts, rows, group)))
    return found


def check_two_dimensional(answers: list[list[Any]], ranks: int, sizes: list[Pair] = SIZES) -> None:
    plan = triangles(ranks)
    for at, (rows, columns) in enumerate(sizes):
        length, matrix = block(rows, plan.blocks), noise(rows, columns)
        whole = torch.zeros(plan.blocks * length, plan.blocks * length, dtype=torch.float64)
        had = [pair for found in answers for pair in found[at][0]]
        assert sorted(had) == sorted([*combinations(range(plan.blocks), 2), *((i, i) for i in range(plan.blocks))])
        for found in answers:
            for (i, j), product in found[at][0].items():
                whole[i * length :, j * length :][:length, :length] = product
        got = whole.triu()[:rows, :rows]
        assert distance(got, (matrix @ matrix.T).triu()) < 1e-12
        assert is_cost([found[at][1] for found in answers], syrk_2d_cost(rows, columns, ranks))


def test_triangle_blocks_of_three_ranks(four_ranks: RankPool) -> None:
    check_two_dimensional([found for found in four_ranks.run(partial(two_dimensional, ranks=3)) if found], 3)


class Letters:
    """Ranks one after another in this process: what one sends in a first round, others get in a second."""

    def __init__(self, ranks: int) -> None:
        self.ranks, self.rank = ranks, 0
        self.sent: dict[Pair, Tensor] = {}

    def exchange(self, sends: list[tuple[int, Tensor]], receives: list[tuple[int, Tensor]], group: None) -> None:
        note_call("exchange", sum(tensor.numel() for _, tensor in sends), self.ranks)
        self.sent |= {(self.rank, peer): tensor for peer, tensor in sends}
        for peer, tensor in receives:
            if (peer, self.rank) in self.sent:
                tensor.copy_(self.sent[peer, self.rank])


@pytest.mark.parametrize("ranks", [6, 12])
def test_triangle_blocks_of_more_ranks(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    letters = Letters(ranks)
    monkeypatch.setattr(syrk, "size", lambda group: ranks)
    monkeypatch.setattr(syrk, "rank_in", lambda group: letters.rank)
    monkeypatch.setattr(syrk, "exchange", letters.exchange)
    answers: list[list[Any]] = []
    for _ in range(2):
        answers = []
        for rank in range(ranks):
            letters.rank = rank
            answers.append([counted(partial(syrk_2d, row_parts(noise(*sizes)), sizes[0])) for sizes in SIZES[:1]])
    check_two_dimensional(answers, ranks, SIZES[:1])


@pytest.mark.parametrize("ranks", [3, 6, 12, 30, 56])
def test_any_two_row_blocks_meet_once(ranks: int) -> None:
    plan = triangles(ranks)
    met = [pair for rows in plan.sets for pair in combinations(rows, 2)]
    assert sorted(met) == list(combinations(range(plan.blocks), 2))
    own = [(rank, at) for rank, at in enumerate(plan.diagonal) if at is not None]
    assert sorted(at for _, at in own) == list(range(plan.blocks))
    assert all(at in plan.sets[rank] for rank, at in own)


def test_other_numbers_of_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="got 4 ranks, wanted 3 or c"):
        triangles(4)


def test_fewer_words_than_for_squares() -> None:
    n, m, c = 49 * 20, 56, 7
    ranks = c * (c + 1)
    triangle = syrk_2d_cost(n, m, ranks).words
    assert triangle == c * c * (n // c**2) * m // (c + 1)
    assert triangle < n * m / ranks**0.5
