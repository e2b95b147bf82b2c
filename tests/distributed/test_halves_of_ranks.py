"""Every parallel decomposition in a group that is a part of all ranks, beside another such group."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from decomposed import decaying, distance
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed import cp_als, multi_ttm, st_hosvd, tt_rounding, tt_svd, tt_tree
from tnbench.distributed.collectives import Group, size
from tnbench.distributed.grid import Grid, distribute, gather, subgroup
from tnbench.distributed.pool import RankPool
from tnbench.distributed.schedule import over_ranks
from tnbench.distributed.sketch import range_finder
from tnbench.distributed.syrk import channel_gram
from tnbench.distributed.tsqr import triangle_of
from tnbench.linalg import tt
from tnbench.linalg.cp import cp_dense
from tnbench.linalg.multilinear import expanded

SHAPE = (5, 7, 4)


def tucker(tensor: Tensor, group: Group) -> Tensor:
    given = distribute(tensor, Grid((1, size(group), 1), group))
    core, factors = st_hosvd.st_hosvd(given, (2, 3, 2), (0, 1, 2))
    return expanded(gather(core), factors, (0, 1, 2))


def terms(tensor: Tensor, group: Group) -> Tensor:
    given = distribute(tensor, Grid((size(group), 1, 1), group))
    return cp_dense(cp_als.cp_als(given, 2, sweeps=3, seed=1).columns)


def rounded(tensor: Tensor, group: Group) -> Tensor:
    slices = tt_rounding.spread(tt.tt_svd(tensor, (5, 4)), group)
    cores = tt_rounding.tt_round(slices, SHAPE, ranks=(2, 2), group=group)
    return tt.contract(tt_rounding.collected(cores, SHAPE, group))


def sketched(tensor: Tensor, group: Group) -> Tensor:
    return range_finder(distribute(tensor, Grid((1, size(group), 1), group)), 1, 2, seed=1)


def scheduled(tensor: Tensor, group: Group) -> Tensor:
    rows = over_ranks(lambda item: (tensor[item],), [1.0] * len(tensor), tensor, group)
    return torch.stack([row for (row,) in rows])


ALL: dict[str, Callable[[Tensor, Group], Tensor]] = {
    "st_hosvd": tucker,
    "cp_als": terms,
    "tt_svd": lambda tensor, group: tt.contract(tt_svd.tt_svd_of(tensor, (2, 2), group)),
    "tt_tree": lambda tensor, group: tt.contract(tt_tree.tt_tree(tensor, (2, 2), group)),
    "tt_round": rounded,
    "multi_ttm": lambda tensor, group: multi_ttm.multi_ttm_of(tensor, [decaying(n, 3) for n in SHAPE], group),
    "range_finder": sketched,
    "over_ranks": scheduled,
    "channel_gram": lambda tensor, group: channel_gram(tensor[None], group) / size(group),
    "tsqr": lambda tensor, group: triangle_of(tensor.flatten(1).T, group) / size(group) ** 0.5,
}


def in_halves(crew: Crew) -> dict[str, Tensor]:
    half = crew.rank // 2
    group = subgroup([2 * half, 2 * half + 1], None)
    return {name: call(decaying(*SHAPE, seed=half), group) for name, call in ALL.items()}


@pytest.fixture(scope="module")
def found(four_ranks: RankPool) -> list[dict[str, Tensor]]:
    return four_ranks.run(in_halves)


@pytest.mark.parametrize("name", ALL)
def test_each_half_works_on_a_tensor_of_its_own(found: list[dict[str, Tensor]], name: str) -> None:
    for rank, answers in enumerate(found):
        assert distance(answers[name], ALL[name](decaying(*SHAPE, seed=rank // 2), None)) < 1e-10
