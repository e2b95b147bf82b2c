"""Rows from other ranks: convolutions and pooling of rows are those of the whole image, forward and backward."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import Call, counting
from tnbench.distributed.functions import join, split
from tnbench.distributed.halo import Window, sent_rows, with_halo
from tnbench.distributed.pool import RankPool

TOLERANCE = 1e-12

CASES = [
    (window, rows)
    for (kernel, stride, around, dilation), rows in itertools.product(
        [
            (3, 1, 1, 1),
            (3, 2, 1, 1),
            (5, 1, 2, 1),
            (5, 3, 1, 1),
            (1, 2, 0, 1),
            (3, 1, 2, 2),
            (2, 2, 0, 1),
            (7, 1, 3, 1),
        ],
        [8, 11, 13],
    )
    if (window := Window(kernel, stride, around, around, dilation)).outputs(rows) >= 4
]


def convolved(x: Tensor, weight: Tensor, window: Window, rows: int) -> Tensor:
    """By the ranks, each its rows."""
    seen = with_halo(split(x, 2), window, rows)
    own = functional.conv2d(seen, weight, None, (window.stride, 1), (0, 0), (window.dilation, 1))
    return join(own, 2, window.outputs(rows))


def errors(crew: Crew) -> list[float]:
    drawn = torch.Generator().manual_seed(0)
    found = []
    for window, rows in CASES:
        x = torch.randn(2, 3, rows, 4, generator=drawn, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(5, 3, window.kernel, 1, generator=drawn, dtype=torch.float64)
        wanted = functional.conv2d(x, weight, None, (window.stride, 1), (window.before, 0), (window.dilation, 1))
        got = convolved(x, weight, window, rows)
        slope = torch.randn(wanted.shape, generator=drawn, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(wanted, x, slope)
        (own,) = torch.autograd.grad(got, x, slope)
        found.append(max((got - wanted).abs().max().item(), (own - gradient).abs().max().item()))
    return found


@pytest.mark.parametrize("pool", ["two_ranks", "four_ranks"])
def test_convolutions_of_rows_are_exact(pool: str, request: pytest.FixtureRequest) -> None:
    for found in request.getfixturevalue(pool).run(errors):
        assert len(found) == len(CASES)
        assert max(found) < TOLERANCE, list(zip(CASES, found, strict=True))


def pooled(crew: Crew) -> bool:
    x = -1 - torch.rand(2, 3, 9, 4, generator=torch.Generator().manual_seed(0))  # zeros around would win
    own = with_halo(split(x, 2), Window(3, 2, 1, 1), 9, fill=-math.inf)
    got = join(functional.max_pool2d(own, (3, 1), (2, 1)), 2, 5)
    return torch.equal(got, functional.max_pool2d(x, (3, 1), (2, 1), (1, 0)))


def test_a_maximum_has_no_zeros_around(two_ranks: RankPool) -> None:
    assert two_ranks.run(pooled) == [True, True]


def counted_rows(crew: Crew, *, window: Window, rows: int) -> tuple[list[Call], list[Call]]:
    x = split(torch.ones(2, 3, rows, 4), 2).requires_grad_()
    with counting() as forward:
        out = with_halo(x, window, rows)
    with counting() as backward:
        out.sum().backward()
    return forward.calls, backward.calls


@pytest.mark.parametrize(
    ("window", "rows"), [(Window(3, 1, 1, 1), 12), (Window(5, 2, 2, 2), 11), (Window(3, 2, 1, 1), 8)]
)
def test_words_are_those_of_the_rows_sent(window: Window, rows: int, four_ranks: RankPool) -> None:
    given = four_ranks.run(partial(counted_rows, window=window, rows=rows))
    for (forward, backward), (sent, returned) in zip(given, sent_rows(window, rows, 4), strict=True):
        assert sum(call.words for call in forward) == 2 * 3 * 4 * sent
        assert sum(call.words for call in backward) == 2 * 3 * 4 * returned
        assert {call.kind for call in (*forward, *backward)} <= {"exchange"}


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_a_rank_between_others_sends_twice_the_kernels_reach(kernel: int) -> None:
    sent = sent_rows(Window(kernel, 1, kernel // 2, kernel // 2), 24, 4)
    assert sent == [(kernel // 2,) * 2, (2 * (kernel // 2),) * 2, (2 * (kernel // 2),) * 2, (kernel // 2,) * 2]


def test_stride_two_on_even_rows_looks_back_only() -> None:
    assert sent_rows(Window(3, 2, 1, 1), 8, 2) == [(1, 0), (0, 1)]
