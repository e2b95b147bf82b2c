"""Collectives that gradients pass, on two ranks: values, gradients and words, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import Call, counting
from tnbench.distributed.functions import (
    copy_all_to_ranks,
    copy_to_ranks,
    join,
    join_channels,
    split,
    split_channels,
    sum_over_ranks,
)
from tnbench.distributed.placement import joined_words, part, parts
from tnbench.distributed.pool import RankPool

WHOLE = torch.arange(30.0).reshape(2, 5, 3)


class Passed(NamedTuple):
    """What came out, the gradient that came back for a `weights` of the output, and the calls of both ways."""

    out: Tensor
    gradient: Tensor
    forward: list[Call]
    backward: list[Call]


def passed(function: Callable[[Tensor], Tensor], given: Tensor, rank: int) -> Passed:
    leaf = given.clone().requires_grad_()
    with counting() as forward:
        out = function(leaf)
    weights = torch.arange(1.0, out.numel() + 1).reshape(out.shape)
    with counting() as backward:
        out.backward(weights * (10**rank))
    assert leaf.grad is not None
    return Passed(out.detach(), leaf.grad, forward.calls, backward.calls)


def all_of_them(crew: Crew) -> dict[str, Passed]:
    here = part(5, 2, crew.rank)
    own = WHOLE[:, here.start : here.stop]
    return {
        "copy": passed(copy_to_ranks, WHOLE, crew.rank),
        "sum": passed(sum_over_ranks, WHOLE + crew.rank, crew.rank),
        "split": passed(split_channels, WHOLE, crew.rank),
        "join": passed(lambda x: join_channels(x, 5), own, crew.rank),
        "split rows": passed(lambda x: split(x, 2), WHOLE, crew.rank),
        "there and back": passed(lambda x: join(split(x, 2), 2, 3), WHOLE, 0),
    }


@pytest.fixture(scope="module")
def given(two_ranks: RankPool) -> list[dict[str, Passed]]:
    return two_ranks.run(all_of_them)


WEIGHTS = torch.arange(1.0, 31).reshape(2, 5, 3)


def test_copy_gives_itself_and_the_sum_of_the_gradients(given: list[dict[str, Passed]]) -> None:
    for rank in range(2):
        got = given[rank]["copy"]
        assert torch.equal(got.out, WHOLE)
        assert torch.equal(got.gradient, 11 * WEIGHTS)
        assert (got.forward, got.backward) == ([], [Call("all_reduce", 30, 2)])


def test_sum_gives_the_sum_and_the_gradient_itself(given: list[dict[str, Passed]]) -> None:
    for rank in range(2):
        got = given[rank]["sum"]
        assert torch.equal(got.out, 2 * WHOLE + 1)
        assert torch.equal(got.gradient, 10**rank * WEIGHTS)
        assert (got.forward, got.backward) == ([Call("all_reduce", 30, 2)], [])


def test_split_gives_a_part_and_joins_the_gradients(given: list[dict[str, Passed]]) -> None:
    outs = [given[rank]["split"].out for rank in range(2)]
    assert [out.shape[1] for out in outs] == [3, 2]
    assert torch.equal(torch.cat(outs, 1), WHOLE)
    weights = [10**rank * torch.arange(1.0, out.numel() + 1).reshape(out.shape) for rank, out in enumerate(outs)]
    for rank in range(2):
        got = given[rank]["split"]
        assert torch.equal(got.gradient, torch.cat(weights, 1))
        assert (got.forward, got.backward) == ([], [Call("all_gather", 36, 2)])  # 2 ranks, 3 channels padded, 6 others


def test_join_gives_the_whole_and_a_part_of_the_gradient(given: list[dict[str, Passed]]) -> None:
    for rank, here in enumerate(parts(5, 2)):
        got = given[rank]["join"]
        assert torch.equal(got.out, WHOLE)
        assert torch.equal(got.gradient, 10**rank * WEIGHTS[:, here.start : here.stop])
        assert (got.forward, got.backward) == ([Call("all_gather", 36, 2)], [])


def test_any_side_can_be_split_and_what_is_joined_again_is_as_it_was(given: list[dict[str, Passed]]) -> None:
    assert torch.equal(torch.cat([given[rank]["split rows"].out for rank in range(2)], 2), WHOLE)
    for rank in range(2):
        got = given[rank]["there and back"]
        assert torch.equal(got.out, WHOLE)
        assert torch.equal(got.gradient, WEIGHTS)


def several_at_once(crew: Crew) -> tuple[list[Tensor | None], list[Call]]:
    leaves = [torch.ones(2, 3, requires_grad=True), torch.ones(4), torch.ones(5, requires_grad=True)]
    with counting() as counted:
        first, frozen, last = copy_all_to_ranks(leaves)
        ((crew.rank + 1) * (first.sum() + frozen.sum() + 3 * last.sum())).backward()
    return [leaf.grad for leaf in leaves], counted.calls


def test_several_share_an_all_reduce_and_frozen_ones_are_left_out(two_ranks: RankPool) -> None:
    for (first, frozen, last), calls in two_ranks.run(several_at_once):
        assert torch.equal(first, torch.full((2, 3), 3.0))
        assert frozen is None
        assert torch.equal(last, torch.full((5,), 9.0))
        assert calls == [Call("all_reduce", 11, 2)]


def test_alone_nothing_is_sent_and_all_is_as_it_was() -> None:
    for function in (copy_to_ranks, sum_over_ranks, split_channels, lambda x: join_channels(x, 5)):
        got = passed(function, WHOLE, 0)
        assert torch.equal(got.out, WHOLE)
        assert torch.equal(got.gradient, WEIGHTS)
        assert got.forward == got.backward == []


@pytest.mark.parametrize(("size", "ranks"), [(5, 2), (8, 4), (3, 4), (0, 2), (7, 3)])
def test_parts_are_those_of_tensor_split(size: int, ranks: int) -> None:
    assert [list(mine) for mine in parts(size, ranks)] == [
        piece.tolist() for piece in torch.arange(size).tensor_split(ranks)
    ]


def test_joining_counts_the_padded_side() -> None:
    assert joined_words((2, 5, 3), 1, 2) == 36
    assert joined_words((2, 6, 3), 1, 2) == 36
    assert joined_words((2, 5, 3), 1, 1) == 0
