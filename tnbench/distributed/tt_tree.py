"""A tensor train by halving: modes are split in the middle again and again, and halves go to halves of the ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tnbench.distributed.collectives import Group, all_gather, broadcast, rank_in, size
from tnbench.distributed.gram import local_gram
from tnbench.distributed.grid import among, block, piece
from tnbench.distributed.triangle import reduced, reduced_cost
from tnbench.distributed.volume import Volume, call, total
from tnbench.linalg.tt import check_ranks

Train = tuple[Tensor, ...]

_EIGH = 9.0


def tt_tree(tensor: Tensor, ranks: Sequence[int], group: Group = None) -> Train:
    """Cores (r_{j-1}, n_j, r_j) on every rank, of a `tensor` (n_1, ..., n_d) that every rank has.

    Grigori and Kumar, "Parallel tensor train through hierarchical decomposition" (2020): a binary dimension tree of
    depth log2 d in the place of a sweep. A node takes the unfolding between its two halves of the modes, U S V', cut to
    the bond's rank. Both children get the singular values, U S and S V', and where their trains meet again they are
    divided out once: so each child neglects what matters least to the whole. The error has the bound of TT-SVD's order,
    but the two trains differ.

    The ranks of a node share its columns, sum its Gram matrix, and gather S V'; then the first half of them goes on
    with the left child and the second with the right one, each broadcasting its cores at the end. From a node with one
    rank on everything is local. See `tt_tree_cost`.
    """
    check_ranks(tensor.shape, ranks)
    return _node(tensor[None, ..., None], tuple(ranks), group)


def tt_tree_cost(shape: Sequence[int], bonds: Sequence[int], ranks: int) -> Volume:
    """Of `tt_tree` with these `bonds` over `ranks` ranks: of each node that with more words of its two children."""
    return _node_cost((1, *shape, 1), tuple(bonds), ranks)


def _node(tensor: Tensor, bonds: tuple[int, ...], group: Group) -> Train:
    """Cores of a tensor (r, n_a, ..., n_b, r') with inner `bonds`, on all ranks of `group`."""
    if not bonds:
        return (tensor,)
    middle = _middle(bonds)
    sides, rank = tensor.shape, bonds[middle]
    left, right, values = _split(tensor.reshape(math.prod(sides[: middle + 2]), -1), rank, group)
    halves = (
        (left.reshape(*sides[: middle + 2], rank), bonds[:middle]),
        (right.reshape(rank, *sides[middle + 2 :]), bonds[middle + 1 :]),
    )
    inverse = torch.where(values > 0, 1 / torch.where(values > 0, values, 1.0), 0.0)
    lefts, rights = (_child(*half, group, which) for which, half in enumerate(halves))
    return *lefts[:-1], lefts[-1] * inverse, *rights


def _middle(bonds: Sequence[int]) -> int:
    """The bond at which a node is cut: of an odd number of modes the right half has one more."""
    return (len(bonds) - 1) // 2


def _child(tensor: Tensor, bonds: tuple[int, ...], group: Group, which: int) -> Train:
    """The cores of one child on all ranks: its half of them finds the cores, unless there is but one core."""
    ranks = size(group)
    if ranks == 1 or not bonds:
        return _node(tensor, bonds, group)
    first = ranks // 2
    members = range(first) if which == 0 else range(first, ranks)
    mine = rank_in(group) in members
    cores = _node(tensor, bonds, among(members, group)) if mine else ()
    outer = (tensor.shape[0], *bonds, tensor.shape[-1])
    shapes = [(outer[at], side, outer[at + 1]) for at, side in enumerate(tensor.shape[1:-1])]
    lengths = [math.prod(shape) for shape in shapes]
    flat = torch.cat([core.flatten() for core in cores]) if mine else tensor.new_empty(sum(lengths))
    sent = broadcast(flat, members[0], group).split(lengths)
    return tuple(part.reshape(shape) for part, shape in zip(sent, shapes, strict=True))


def _split(matrix: Tensor, rank: int, group: Group) -> tuple[Tensor, Tensor, Tensor]:
    """U S (m, r), S V' (r, n) and the diagonal of S (r,) of a `matrix` (m, n), cut to rank r; on all ranks.

    By the Gram matrix of the shorter side.
    """
    if len(matrix) > matrix.shape[1]:
        right, left, values = _split(matrix.T, rank, group)
        return left.T, right.T, values
    columns = piece(matrix, 1, size(group), rank_in(group))
    frame = torch.linalg.eigh(reduced(local_gram(columns, 0), group))[1].flip(1)[:, :rank]
    right = all_gather(frame.T @ columns, 1, group)[:, : matrix.shape[1]]
    values = right.norm(dim=1)
    return frame * values, right, values


def _node_cost(sides: Sequence[int], bonds: tuple[int, ...], ranks: int) -> Volume:
    if not bonds:
        return Volume()
    middle = _middle(bonds)
    rank = bonds[middle]
    rows, longer = sorted((math.prod(sides[: middle + 2]), math.prod(sides[middle + 2 :])))
    columns = block(longer, ranks)
    split = [
        Volume(float(columns) * rows * (rows + 1 + 2 * rank) + _EIGH * rows**3),
        reduced_cost(rows, ranks),
        call(ranks * rank * columns, ranks, rank * columns),
    ]
    halves = (
        ((*sides[: middle + 2], rank), bonds[:middle], ranks // 2),
        ((rank, *sides[middle + 2 :]), bonds[middle + 1 :], ranks - ranks // 2),
    )
    if ranks == 1:
        return total([*split, *(_node_cost(side, inner, 1) for side, inner, _ in halves)])
    shared = [half for half in halves if half[1]]
    inside = [_node_cost(*half) for half in shared]
    sent = [call(_words(side, inner), ranks, _words(side, inner)) for side, inner, _ in shared]
    return total([*split, _slower(inside), *sent])


def _slower(volumes: Sequence[Volume]) -> Volume:
    """The most of each count."""
    return Volume(*map(max, zip(*volumes, strict=True))) if volumes else Volume()


def _words(sides: Sequence[int], bonds: Sequence[int]) -> int:
    """Numbers in the cores of a node."""
    outer = (sides[0], *bonds, sides[-1])
    return sum(outer[at] * side * outer[at + 1] for at, side in enumerate(sides[1:-1]))
