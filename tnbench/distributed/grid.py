"""A tensor cut into blocks over an N-way grid of ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from tnbench.distributed.collectives import ALONE, TIMEOUT, Group, all_gather, rank_in, size
from tnbench.distributed.volume import Volume, call

_NO_COUNT = -1
"""In the place of how many groups torch has made in this process, which is never that."""

_made: WeakKeyDictionary[dist.ProcessGroup, dict[tuple[int, ...], dist.ProcessGroup]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Grid:
    """P = P_0 P_1 ... ranks of `group` in a grid with `sides` P_n, the last coordinate running fastest."""

    sides: tuple[int, ...]
    group: Group = None

    def __post_init__(self) -> None:
        if math.prod(self.sides) != size(self.group):
            raise ValueError(
                f"got a grid {'x'.join(map(str, self.sides))} for {size(self.group)} ranks, wanted sides whose "
                f"product is the number of ranks"
            )

    @property
    def coordinates(self) -> tuple[int, ...]:
        """This rank's place."""
        return tuple(int(place) for place in torch.unravel_index(torch.tensor(rank_in(self.group)), self.sides))

    def along(self, *modes: int) -> Group:
        """The ranks that differ from this one in `modes` at most, in the grid's order; all of them must ask."""
        places = torch.arange(math.prod(self.sides)).reshape(self.sides)
        mine = tuple(slice(None) if mode in modes else at for mode, at in enumerate(self.coordinates))
        return among(places[mine].flatten().tolist(), self.group)

    def across(self, mode: int) -> Group:
        """The ranks that have the same coordinate in `mode`."""
        return self.along(*(other for other in range(len(self.sides)) if other != mode))


class Distributed(NamedTuple):
    """A tensor of `shape` over a grid: `local` is this rank's block, ceil(n_i / P_i) long in each mode.

    Beyond the tensor's sides blocks are zero, so sums over them need no care.
    """

    local: Tensor
    shape: tuple[int, ...]
    grid: Grid


def among(members: Sequence[int], group: Group) -> Group:
    """These ranks of `group` for the collectives of this package: as `subgroup`, but `ALONE` where there is but one."""
    return ALONE if len(members) == 1 else subgroup(members, group)


def subgroup(members: Sequence[int], group: Group) -> Group:
    """The torch group of these ranks of `group`; only they must call it, whatever groups each of them made before.

    One made before is given again. Ranks keep their order in `group`, in which `members` must be.
    """
    if len(members) == size(group):
        return group
    world = dist.group.WORLD
    assert world is not None, "a group with more ranks than members has been formed"
    ranks = tuple(dist.get_global_rank(group, member) if group is not None else member for member in members)
    known = _made.setdefault(world, {})
    if ranks not in known:
        with _met_by_members(world):
            made = dist.new_group(list(ranks), timeout=TIMEOUT, use_local_synchronization=True)
        assert isinstance(made, dist.ProcessGroup), "this rank is not among the members"
        known[ranks] = made
    return known[ranks]


@contextmanager
def _met_by_members(world: dist.ProcessGroup) -> Iterator[None]:
    """Let a new group be one of its members alone, who meet under a name that is made of their ranks.

    torch adds to that name how many groups this process has made, which the members need not agree on; and where
    `world` is bound to a GPU it splits a communicator, for which NCCL wants all ranks of `world` to call.
    """
    state: Any = distributed_c10d._world
    count, device = state.group_count, world.bound_device_id
    state.group_count, world.bound_device_id = _NO_COUNT, None
    try:
        yield
    finally:
        state.group_count, world.bound_device_id = count, device


def block(side: int, ranks: int) -> int:
    """Length of a block: ceil(n / P)."""
    return -(-side // ranks)


def block_shape(shape: Sequence[int], sides: Sequence[int]) -> tuple[int, ...]:
    """Of every rank's block."""
    return tuple(map(block, shape, sides))


def distribute(tensor: Tensor, grid: Grid) -> Distributed:
    """This rank's block of a `tensor` that every rank has; nothing is sent."""
    local = tensor
    for mode, (ranks, at) in enumerate(zip(grid.sides, grid.coordinates, strict=True)):
        local = piece(local, mode, ranks, at)
    return Distributed(local.contiguous(), tuple(tensor.shape), grid)


def piece(tensor: Tensor, mode: int, ranks: int, at: int) -> Tensor:
    """Piece `at` of `ranks` pieces of one length along `mode`, with zeros beyond the tensor."""
    length = block(tensor.shape[mode], ranks)
    start = min(at * length, tensor.shape[mode])
    return padded(tensor.narrow(mode, start, min(length, tensor.shape[mode] - start)), mode, length)


def padded(tensor: Tensor, mode: int, length: int) -> Tensor:
    """`tensor` with zeros at the end of `mode`, so that it is `length` long."""
    missing = length - tensor.shape[mode]
    if missing == 0:
        return tensor
    sides = list(tensor.shape)
    sides[mode] = missing
    return torch.cat([tensor, tensor.new_zeros(sides)], mode)


def gather(given: Distributed) -> Tensor:
    """The whole tensor on every rank: P blocks' words in one all-gather."""
    if math.prod(given.grid.sides) == 1:
        return given.local
    modes = len(given.shape)
    blocks = all_gather(given.local[None], 0, given.grid.group).reshape(*given.grid.sides, *given.local.shape)
    order = [axis for mode in range(modes) for axis in (mode, modes + mode)]
    whole = blocks.permute(order).reshape([b * p for b, p in zip(given.local.shape, given.grid.sides, strict=True)])
    return whole[tuple(map(slice, given.shape))].contiguous()


def gather_cost(shape: Sequence[int], sides: Sequence[int]) -> Volume:
    """Of `gather`."""
    words = math.prod(sides) * math.prod(block_shape(shape, sides))
    return call(words, math.prod(sides), words)


def factorisations(number: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `number` as an ordered product of `parts` whole numbers.

    >>> list(factorisations(4, 2))
    [(1, 4), (2, 2), (4, 1)]
    """
    if parts == 1:
        yield (number,)
        return
    for first in (side for side in range(1, number + 1) if number % side == 0):
        yield from ((first, *rest) for rest in factorisations(number // first, parts - 1))
