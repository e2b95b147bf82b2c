"""Block term decomposition: a sum of Tucker-2 blocks of one size, by alternating least squares."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.linalg.multilinear import expanded
from tnbench.linalg.tucker import tucker2

_PULL = 1e-10
"""Share of the normal equations' diagonal that pulls to the old factor: it keeps singular ones solvable."""

_PENALTY = 3e-3
_WINDOW = 5
_CORE_PASSES = 3


class Blocks(NamedTuple):
    """B blocks: cores (B, rO, rI, *k) and factors `out` (B, O, rO) and `inp` (B, I, rI).

    Columns of the factors are orthonormal, or zero where tiles have no use for them.
    """

    cores: Tensor
    out: Tensor
    inp: Tensor


def block_term(
    tensor: Tensor,
    ranks: tuple[int, int],
    blocks: int,
    *,
    start: Blocks | None = None,
    max_sweeps: int = 50,
    tolerance: float = 1e-3,
) -> Blocks:
    """The sum of `blocks` Tucker-2 blocks of `ranks` (rO, rI) nearest to `tensor` (O, I, *k) in float64.

    De Lathauwer, "Decompositions of a higher-order tensor in block terms, part II" (2008), rank-(L, M, ·) terms, and
    part III with Nion for the alternating least squares: all blocks' `out` together, then all `inp`, then the cores in
    turn. It begins block by block, each the Tucker-2 of what the others leave, or from `start` with blocks of at most
    these ranks; the error never rises from there on. A penalty on the blocks' squared norms, 0.003 of the squared
    error, keeps blocks that cancel from growing. It stops when five sweeps together lower the error by less than
    `tolerance` of itself.

    From the ranks of `tiles` on there is no error: each block is then one tile of the channels' grid.
    """
    flat = tensor.flatten(2)
    wide = tensor.shape[0], tensor.shape[1]
    if all(rank >= side for rank, side in zip(ranks, tiles(wide, blocks), strict=True)):
        found = _tiled(flat, ranks, blocks)
    else:
        found = _als(flat, _deflated(flat, ranks, blocks, start), max_sweeps, tolerance)
    return found._replace(cores=found.cores.reshape(*found.cores.shape[:3], *tensor.shape[2:]))


def tiles(sides: tuple[int, int], blocks: int) -> tuple[int, int]:
    """(rO, rI) of the smallest tiles of which `blocks` cover a grid of `sides` (O, I).

    >>> tiles((64, 32), 4), tiles((64, 1), 4), tiles((9, 9), 2)
    ((16, 32), (16, 1), (5, 9))
    """
    grids = [(rows, blocks // rows) for rows in range(1, blocks + 1) if blocks % rows == 0]
    sizes = [(math.ceil(sides[0] / rows), math.ceil(sides[1] / columns)) for rows, columns in grids]
    return min(sizes, key=lambda size: (size[0] * size[1], sides[0] * size[0] + sides[1] * size[1], size))


def assembled(found: Blocks) -> Tensor:
    """The tensor (O, I, *k): the sum of all blocks."""
    total = found.cores.new_zeros(found.out.shape[1], found.inp.shape[1], *found.cores.shape[3:])
    for core, out, inp in zip(*found, strict=True):
        total += expanded(core, (out, inp), (0, 1))
    return total


def _tiled(tensor: Tensor, ranks: tuple[int, int], blocks: int) -> Blocks:
    O, I, k = tensor.shape
    rows, columns = tiles((O, I), blocks)
    found = Blocks(
        tensor.new_zeros(blocks, *ranks, k),
        tensor.new_zeros(blocks, O, ranks[0]),
        tensor.new_zeros(blocks, I, ranks[1]),
    )
    corners = [(row, column) for row in range(0, O, rows) for column in range(0, I, columns)]
    for block, (row, column) in enumerate(corners):
        tile = tensor[row : row + rows, column : column + columns]
        high, wide = tile.shape[:2]
        found.cores[block, :high, :wide] = tile
        found.out[block, row : row + high, :high].fill_diagonal_(1)
        found.inp[block, column : column + wide, :wide].fill_diagonal_(1)
    return found


def _deflated(tensor: Tensor, ranks: tuple[int, int], blocks: int, start: Blocks | None) -> Blocks:
    """Each block in turn the Tucker-2 of what the others leave of `tensor`."""
    O, I, k = tensor.shape
    new = Blocks(
        tensor.new_empty(blocks, *ranks, k),
        tensor.new_empty(blocks, O, ranks[0]),
        tensor.new_empty(blocks, I, ranks[1]),
    )
    before = None if start is None else start._replace(cores=start.cores.flatten(3))
    rest = tensor if before is None else tensor - assembled(before)
    for block in range(blocks):
        if before is not None:
            rest = rest + expanded(before.cores[block], (before.out[block], before.inp[block]), (0, 1))
        core, out, inp = tucker2(rest, ranks)
        rest = rest - expanded(core, (out, inp), (0, 1))
        new.cores[block], new.out[block], new.inp[block] = core, out, inp
    return new


def _als(tensor: Tensor, found: Blocks, max_sweeps: int, tolerance: float) -> Blocks:
    energy, turned = float(tensor.square().sum()), tensor.transpose(0, 1).contiguous()
    best, errors = found, [float(torch.dist(tensor, assembled(found)))]
    for _ in range(max_sweeps if energy > 0 else 0):
        penalty = _PENALTY * min(errors) ** 2 / energy
        found = _with_factors(tensor, found, penalty)
        found = _swapped(_with_factors(turned, _swapped(found), penalty))
        found, explained = _with_cores(tensor, found, penalty)
        error = max(0.0, energy - explained) ** 0.5
        best = found if error < min(errors) else best
        errors.append(error)
        if len(errors) > _WINDOW and min(errors[:-_WINDOW]) - min(errors) <= tolerance * min(errors):
            break
    return best


def _swapped(found: Blocks) -> Blocks:
    return Blocks(found.cores.transpose(1, 2), found.inp, found.out)


def _with_factors(tensor: Tensor, found: Blocks, penalty: float) -> Blocks:
    """Least squares for `out` of all blocks at once, each made orthonormal afterwards."""
    blocks, rank = found.cores.shape[:2]
    rows = torch.einsum("bpqk,biq->bpik", found.cores, found.inp).reshape(blocks * rank, -1)
    old = found.out.transpose(0, 1).reshape(len(tensor), -1)
    gram = rows @ rows.T
    own = torch.block_diag(*(gram[at : at + rank, at : at + rank] for at in range(0, len(gram), rank)))
    joint = _solved(gram + penalty * own, tensor.flatten(1) @ rows.T, old).reshape(len(tensor), blocks, rank)
    out, triangles = torch.linalg.qr(joint.transpose(0, 1))
    return found._replace(out=out, cores=torch.einsum("bpr,brqk->bpqk", triangles, found.cores))


def _with_cores(tensor: Tensor, found: Blocks, penalty: float) -> tuple[Blocks, float]:
    """The cores, each solved for given the others, and the energy that the sum of all blocks explains."""
    wanted = torch.stack(
        [expanded(tensor, (out.T, inp.T), (0, 1)) for out, inp in zip(found.out, found.inp, strict=True)]
    )
    over, under = (torch.einsum("bnp,cnq->bcpq", basis, basis) for basis in (found.out, found.inp))
    cores = found.cores.clone()

    def seen(block: int) -> Tensor:
        """What block `block` sees of all blocks, itself included."""
        return torch.einsum("cpr,crsk,cqs->pqk", over[block], cores, under[block])

    for _ in range(_CORE_PASSES):
        for block in range(len(cores)):
            cores[block] += (wanted[block] - seen(block) - penalty * cores[block]) / (1 + penalty)
    own = sum(float((cores[block] * seen(block)).sum()) for block in range(len(cores)))
    return found._replace(cores=cores), 2 * float((wanted * cores).sum()) - own


def _solved(gram: Tensor, products: Tensor, old: Tensor) -> Tensor:
    """X (n, r) of least squares from X · gram = products, with a small pull towards the `old` one."""
    scale = float(gram.diagonal().max())
    pull = _PULL * (scale if scale > 0 else 1.0)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve((products + pull * old).T, torch.linalg.cholesky(gram + pull * eye)).T
