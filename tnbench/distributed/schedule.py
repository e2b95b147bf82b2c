"""Independent items over ranks: the longest first, each to the rank that has least to do."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_gather, rank_in, size
from tnbench.distributed.volume import Volume, call, total

Factors = tuple[Tensor, ...]


def longest_first(costs: Sequence[float], ranks: int) -> list[int]:
    """The rank of each item: LPT list scheduling, with a makespan of at most (4/3 - 1/(3P)) times the best.

    Graham, "Bounds on multiprocessing timing anomalies" (SIAM Journal on Applied Mathematics 1969). Items are taken by
    falling cost, those of equal cost in order, each by the rank that has least so far, the first of several.

    >>> longest_first([1, 5, 3, 2], ranks=2)
    [0, 0, 1, 1]
    """
    if ranks < 1:
        raise ValueError(f"got {ranks} ranks, wanted at least 1")
    loads = [(0.0, rank) for rank in range(ranks)]
    placed = [0] * len(costs)
    for item in sorted(range(len(costs)), key=lambda item: -costs[item]):
        load, placed[item] = heapq.heappop(loads)
        heapq.heappush(loads, (load + costs[item], placed[item]))
    return placed


def makespan(costs: Sequence[float], placed: Sequence[int]) -> float:
    """What the rank with most to do has to do; 0 without items."""
    loads: dict[int, float] = {}
    for cost, rank in zip(costs, placed, strict=True):
        loads[rank] = loads.get(rank, 0.0) + cost
    return max(loads.values(), default=0.0)


def least_makespan(costs: Sequence[float], ranks: int) -> float:
    """No schedule is shorter than its longest item, nor than an even share: max(max c, Σc / P)."""
    return max(max(costs, default=0.0), math.fsum(costs) / ranks)


def over_ranks(
    work: Callable[[int], Factors], costs: Sequence[float], like: Tensor, group: Group = None
) -> list[Factors]:
    """`work(item)` for every item, each on the rank that `longest_first` gives it, and all results on all ranks.

    Results are tuples of tensors of the dtype and device of `like`: others would not meet those of the other ranks, and
    raise TypeError. Shapes travel before numbers; both are padded to the most that a rank has: see `over_ranks_cost`.
    All ranks must call it with the same costs.
    """
    placed = longest_first(costs, size(group))
    mine = [_alike(item, work(item), like) for item, rank in enumerate(placed) if rank == rank_in(group)]
    shapes = _gathered(torch.tensor(_header(mine), dtype=torch.int64, device=like.device), group)
    numbers = _gathered(torch.cat([like.new_empty(0), *(t.flatten() for f in mine for t in f)]), group)
    streams = [_unpacked(head.tolist(), data) for head, data in zip(shapes, numbers, strict=True)]
    return [next(streams[rank]) for rank in placed]


def over_ranks_cost(
    costs: Sequence[float], shapes: Sequence[Sequence[Sequence[int]]], ranks: int, flops: Sequence[float] = ()
) -> Volume:
    """Of `over_ranks` for results of these shapes: twice a length, then P times the longest header and the most data.

    `flops` are those of each item's work, where they are known.
    """
    placed = longest_first(costs, ranks)
    numbers = [float(sum(map(math.prod, result))) for result in shapes]
    headers = [1 + sum(1 + len(shape) for shape in result) for result in shapes]
    parts = [int(makespan([float(length) for length in headers], placed)), int(makespan(numbers, placed))]
    gathers = [call(ranks * part, ranks, part) for part in parts if part]
    work = Volume(makespan(flops, placed)) if flops else Volume()
    return total([work, call(ranks, ranks), call(ranks, ranks), *gathers])


def _alike(item: int, factors: Factors, like: Tensor) -> Factors:
    for tensor in factors:
        if (tensor.dtype, tensor.device) != (like.dtype, like.device):
            raise TypeError(
                f"item {item}: got a tensor of {tensor.dtype} on {tensor.device}, wanted {like.dtype} on "
                f"{like.device}, as all ranks expect; convert it in `work`, or announce another one with `like`"
            )
    return factors


def _header(results: Sequence[Factors]) -> list[int]:
    """For each result its number of tensors, then for each tensor its number of sides and its sides."""
    return [
        word
        for factors in results
        for word in (len(factors), *(side for tensor in factors for side in (tensor.dim(), *tensor.shape)))
    ]


def _gathered(numbers: Tensor, group: Group) -> list[Tensor]:
    """What each rank has: (k,), k of its own on each."""
    lengths = all_gather(torch.tensor([len(numbers)], device=numbers.device), 0, group).tolist()
    most = max(lengths)
    if most == 0:
        return [numbers] * len(lengths)
    padded = torch.nn.functional.pad(numbers, (0, most - len(numbers)))
    rows = all_gather(padded[None], 0, group)
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _unpacked(header: list[int], numbers: Tensor) -> Iterator[Factors]:
    words, used = iter(header), 0
    for count in words:
        factors = []
        for _ in range(count):
            shape = [next(words) for _ in range(next(words))]
            factors.append(numbers[used : used + math.prod(shape)].reshape(shape))
            used += math.prod(shape)
        yield tuple(factors)
