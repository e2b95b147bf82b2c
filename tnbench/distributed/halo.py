"""Rows from other ranks: what a window that slides over an image needs beyond a rank's own rows.

An image (N, C, H, ...) is cut along H, each rank having its part of the rows (`placement.part`). A convolution or
pooling wants, for a rank's part of its output, a range of input rows, some of which are other ranks': the halo (Dryden,
Maruyama, Benson, Moon, Snir and Van Essen 2019, arXiv:1903.06681). It is worked out for all ranks alike from sizes
alone, so any stride is exact, and any H, be it a multiple of the ranks or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, exchange, rank_in, size
from tnbench.distributed.placement import parts

ROWS = 2
"""The side of the rows in (N, C, H, ...)."""


class Window(NamedTuple):
    """How a kernel slides over rows: `before` and `after` are rows of padding."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    def outputs(self, rows: int) -> int:
        """Rows that come out of `rows`."""
        return (rows + self.before + self.after - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def inputs(self, outputs: range) -> range:
        """Rows that `outputs` are made from: below 0 and beyond the last are padding."""
        if not outputs:
            return range(0)
        start = outputs.start * self.stride - self.before
        return range(start, outputs[-1] * self.stride - self.before + self.dilation * (self.kernel - 1) + 1)


def wanted_rows(window: Window, rows: int, ranks: int) -> list[range]:
    """Input rows, padding included, that each rank needs for its part of the output, of `rows` input rows."""
    return [window.inputs(mine) for mine in parts(window.outputs(rows), ranks)]


def sent_rows(window: Window, rows: int, ranks: int) -> list[tuple[int, int]]:
    """(rows sent forward, rows sent backward) by each rank: its own that others want, and others' that it wants.

    Backward the gradient of each row goes the way back that the row came.

    >>> sent_rows(Window(3, 1, 1, 1), 12, 3)
    [(1, 1), (2, 2), (1, 1)]
    """
    have, want = parts(rows, ranks), wanted_rows(window, rows, ranks)
    given = [sum(len(_common(have[me], want[to])) for to in range(ranks) if to != me) for me in range(ranks)]
    got = [sum(len(_common(have[source], want[me])) for source in range(ranks) if source != me) for me in range(ranks)]
    return list(zip(given, got, strict=True))


def with_halo(own: Tensor, window: Window, rows: int, group: Group = None, fill: float = 0.0) -> Tensor:
    """The input rows (N, C, H'', ...) for this rank's part of the output, from the rank's `own` of `rows` rows.

    Rows of padding have the value `fill`. A window without padding applied to them gives the rank's output rows.
    """
    return cast(Tensor, _Fetch.apply(own, window, rows, group, fill))


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, window: Window, rows: int, group: Group, fill: float) -> Tensor:
        ranks = size(group)
        have, want = parts(rows, ranks), wanted_rows(window, rows, ranks)
        ctx.ways = have, want, group
        here = rank_in(group)
        got = own.new_full(_with_rows(own, len(want[here])), fill)
        for place, values in _arrivals(own, have, want, group):
            _rows(got, want[here], place).copy_(values)
        return got

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        have, want, group = ctx.ways
        here = rank_in(group)
        own = gradient.new_zeros(_with_rows(gradient, len(have[here])))
        for place, values in _arrivals(gradient, want, have, group):
            _rows(own, have[here], place).add_(values)
        return own, None, None, None, None


def _arrivals(given: Tensor, have: Sequence[range], want: Sequence[range], group: Group) -> list[tuple[range, Tensor]]:
    """Which rows of those that this rank wants come from each rank, itself included, that has rows of `given`."""
    here = rank_in(group)
    others = [rank for rank in range(size(group)) if rank != here]
    sends = [(rank, _common(have[here], want[rank])) for rank in others]
    gets = [(rank, _common(have[rank], want[here])) for rank in others]
    buffers = [(rank, rows, given.new_zeros(_with_rows(given, len(rows)))) for rank, rows in gets if rows]
    exchange(
        [(rank, _rows(given, have[here], rows)) for rank, rows in sends if rows],
        [(rank, buffer) for rank, _, buffer in buffers],
        group,
    )
    kept = _common(have[here], want[here])
    return [(kept, _rows(given, have[here], kept)), *((rows, buffer) for _, rows, buffer in buffers)]


def _rows(tensor: Tensor, place: range, rows: range) -> Tensor:
    """A view of `rows` of a tensor that has those of `place`."""
    return tensor.narrow(ROWS, rows.start - place.start if rows else 0, len(rows))


def _common(one: range, other: range) -> range:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return range(start, max(start, stop))


def _with_rows(tensor: Tensor, rows: int) -> list[int]:
    return [rows if axis == ROWS else side for axis, side in enumerate(tensor.shape)]
