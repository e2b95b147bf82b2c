"""Collectives: what they give on two ranks, and the words they count."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import (
    Call,
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    counting,
    exchange,
    muted,
    note_call,
    reduce_scatter,
)
from tnbench.distributed.pool import RankPool


def every_collective(crew: Crew) -> tuple[list[Any], list[Call]]:
    mine = torch.arange(4.0).reshape(2, 2) + 10 * crew.rank
    from_other = torch.zeros(2)
    with counting() as counted:
        given = [
            all_reduce(mine),
            all_gather(mine, 1),
            reduce_scatter(mine, 0),
            torch.stack(all_to_all([mine[0], mine[1]])),
            broadcast(mine, 1),
        ]
        exchange([(1 - crew.rank, mine[1])], [(1 - crew.rank, from_other)])
        all_gather(all_reduce(mine[:0]), 0)  # nothing is sent, and nothing counted
    return [*given, from_other, mine], counted.calls


def muted_collectives(crew: Crew) -> list[tuple[int, ...]]:
    mine = torch.ones(2, 2)
    with muted():
        if crew.rank == 1:
            crew.barrier()  # the other comes later: nothing here waits for it
        given = [all_reduce(mine), all_gather(mine, 1), reduce_scatter(mine, 0), *all_to_all([mine[0], mine[1]])]
        if crew.rank == 0:
            crew.barrier()
    return [tuple(tensor.shape) for tensor in given]


def test_what_two_ranks_get(two_ranks: RankPool) -> None:
    zero, one = torch.arange(4.0).reshape(2, 2), torch.arange(4.0).reshape(2, 2) + 10
    for rank, (given, _) in enumerate(two_ranks.run(every_collective)):
        reduced, gathered, scattered, exchanged, sent, from_other, mine = given
        assert torch.equal(reduced, zero + one)
        assert torch.equal(gathered, torch.cat([zero, one], 1))
        assert torch.equal(scattered, (zero + one)[rank : rank + 1])
        assert torch.equal(exchanged, torch.stack([zero[rank], one[rank]]))
        assert torch.equal(sent, one)
        assert torch.equal(from_other, (one, zero)[rank][1])
        assert torch.equal(mine, (zero, one)[rank])  # nothing was changed in place


def test_words_are_those_of_the_payload(two_ranks: RankPool) -> None:
    for _, calls in two_ranks.run(every_collective):
        assert calls == [
            Call("all_reduce", 4, 2),
            Call("all_gather", 8, 2),
            Call("reduce_scatter", 4, 2),
            Call("all_to_all", 4, 2),
            Call("broadcast", 4, 2),
            Call("exchange", 2, 2),
        ]


def test_muted_calls_send_nothing_and_keep_shapes(two_ranks: RankPool) -> None:
    assert two_ranks.run(muted_collectives) == [[(2, 2), (2, 4), (1, 2), (2,), (2,)]] * 2


def test_alone_nothing_is_counted() -> None:
    with counting() as counted:
        given = all_reduce(torch.ones(3)), all_gather(torch.ones(3), 0), reduce_scatter(torch.ones(3), 0)
    assert not counted.calls
    assert all(torch.equal(tensor, torch.ones(3)) for tensor in given)


def test_a_block_within_another_takes_nothing_from_it() -> None:
    with counting() as outer:
        with counting() as inner:
            pass  # until then both have counted the same
        note_call("all_reduce", 3, 2)
    assert inner.calls == []
    assert outer.calls == [Call("all_reduce", 3, 2)]


def test_a_side_that_ranks_cannot_share_is_refused(two_ranks: RankPool) -> None:
    with pytest.raises(ValueError, match="got a side of 3 for 2 ranks, wanted a multiple"):
        two_ranks.run(uneven)


def uneven(crew: Crew) -> None:
    reduce_scatter(torch.ones(3), 0)
