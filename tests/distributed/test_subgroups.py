"""Groups of some of the ranks: formed by their members alone, whatever each rank did before, and none for one rank."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from unittest import mock

import torch
import torch.distributed as dist
from decomposed import decaying, distance

from tnbench.core.protocols import Crew
from tnbench.distributed import grid, solvers
from tnbench.distributed.collectives import ALONE, all_gather, all_reduce, broadcast, counting, rank_in, size
from tnbench.distributed.grid import Grid, among, subgroup
from tnbench.distributed.pool import RankPool
from tnbench.distributed.tt_tree import tt_tree
from tnbench.linalg import tt

THREE, PAIRS = (0, 2, 3), ((0, 3), (1, 2))
"""Sets of ranks which no other test asks for, since a group is made once."""


class Met(NamedTuple):
    error: float | None
    """Of a tree over `THREE`."""
    sum: float
    """Of the ranks of this rank's pair."""
    again: bool
    bound: torch.device


def meeting(crew: Crew) -> Met:
    world = dist.group.WORLD
    assert world is not None
    for _ in range(crew.rank):  # no two ranks have made as many groups
        dist.new_group([crew.rank], use_local_synchronization=True)
    tensor, error, gpu = decaying(5, 4, 3), None, torch.device("cuda", 0)
    with mock.patch.object(grid, "TIMEOUT", timedelta(minutes=1)):
        if crew.rank in THREE:
            cores = tt_tree(tensor, (5, 3), subgroup(THREE, None))
            error = distance(tt.contract(cores), tensor)
        world.bound_device_id = gpu  # as where NCCL joins the ranks
        (own,) = (pair for pair in PAIRS if crew.rank in pair)
        group = subgroup(own, None)
        bound, world.bound_device_id = world.bound_device_id, None
    total = all_reduce(torch.tensor([float(crew.rank)]), group).item()
    return Met(error, total, subgroup(own, None) is group, bound)


def test_members_meet_whatever_each_rank_did_before(four_ranks: RankPool) -> None:
    for rank, met in enumerate(four_ranks.run(meeting)):
        assert (met.error is not None) == (rank in THREE)
        assert met.error is None or met.error < 1e-10
        assert met.sum == 3.0
        assert met.again, "a group is made once"
        assert met.bound == torch.device("cuda", 0), "the world is left as it was"


def by_itself(crew: Crew) -> list[bool]:
    formed = dist.get_pg_count()
    flat = Grid((1, crew.world))
    checks = [among([crew.rank], None) is ALONE, flat.along(0) is ALONE, flat.across(1) is ALONE, flat.along(1) is None]
    if crew.rank == 0:
        matrix = decaying(6, 4)
        left, right = solvers.low_rank(matrix, 4)
        checks.append(distance(left @ right, matrix) < 1e-10)
    return [*checks, dist.get_pg_count() == formed]


def test_one_rank_forms_no_group(two_ranks: RankPool) -> None:
    for checks in two_ranks.run(by_itself):
        assert all(checks), checks


def test_alone_every_collective_gives_back_what_it_is_given() -> None:
    given = torch.arange(6.0).reshape(2, 3)
    assert (size(ALONE), rank_in(ALONE)) == (1, 0)
    with counting() as counted:
        answers = all_reduce(given, ALONE), all_gather(given, 1, ALONE), broadcast(given, 0, ALONE)
    assert all(torch.equal(answer, given) for answer in answers)
    assert counted.calls == []
