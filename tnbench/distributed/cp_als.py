"""CP by alternating least squares for a tensor over a grid of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tnbench.distributed import triangle
from tnbench.distributed.collectives import all_gather, all_reduce, reduce_scatter, size
from tnbench.distributed.counter_normal import normal
from tnbench.distributed.grid import Distributed, block, block_shape, factorisations, padded, piece
from tnbench.distributed.mttkrp import sweep, sweep_flops
from tnbench.distributed.volume import Volume, call, total

_PULL = 1e-12
"""Added to a diagonal of ones, so that terms that coincide can be solved for."""

_PART = 2**16


class Found(NamedTuple):
    """Columns (n_j, R) on every rank, of norm 1 but in the first mode, and ||X - X~|| / ||X|| after each sweep."""

    columns: tuple[Tensor, ...]
    errors: list[float]


def cp_als(
    given: Distributed,
    rank: int,
    *,
    sweeps: int,
    seed: int = 0,
    start: Sequence[Tensor] | None = None,
    tolerance: float = 0.0,
) -> Found:
    """CP in R = `rank` terms by `sweeps` sweeps of least squares from `start`, whole columns (n_j, R), or random ones.

    Where `start` has fewer than R columns, random ones follow; for more, or for other sides, it raises ValueError. With
    a `tolerance` it ends after a sweep that lowers the error by less than this share of it.

    PLANC (Eswar, Hayashi, Ballard, Kannan, Matheson and Park, ACM TOMS 2021): the tensor stays where it is. Of each
    factor's block of rows the ranks that have the same coordinate hold a share each; for a mode they multiply their
    blocks with the other factors' (`tnbench.distributed.mttkrp.sweep`), reduce-scatter the products' rows, solve for
    their share with the R×R Gram matrices that all have, all-reduce the new one, and gather their block's rows. Random
    columns depend on seed, mode, row and term alone, so P ranks take the steps of one.

    A sweep costs 4 J R / P flops and, for each mode, twice n_p R words among P / P_n ranks and R(R+1)/2 + 1 among all;
    see `cp_als_cost`. Grams and solutions are float64. The error comes from the last mode's products, so that of a
    float32 tensor is not told below some 3e-4.
    """
    state = _State(given, rank, _start(given, rank, seed, start))
    energy = float(all_reduce(_energy(given.local)[None], given.grid.group))
    errors = []
    for _ in range(sweeps):
        sweep(given.local, state.blocks, state.update)
        errors.append(math.sqrt(max(0.0, energy - state.explained) / energy) if energy > 0 else 0.0)
        if tolerance > 0 and len(errors) > 1 and errors[-2] - errors[-1] <= tolerance * errors[-1]:
            break  # all ranks have the same sums, and so the same errors
    return Found(state.gathered(), errors)


class _State:
    """The factors as one rank has them: its blocks' rows, and the Gram matrices of whole factors."""

    def __init__(self, given: Distributed, rank: int, start: Sequence[Tensor]) -> None:
        self.given, self.rank = given, rank
        self.sizes = start[0].new_ones(rank, dtype=torch.float64)
        self.explained = 0.0
        grid, dtype = given.grid, given.local.dtype
        units = [_unit(matrix.double()) for matrix in start]
        self.grams = [matrix.T @ matrix for matrix in units]
        self.blocks = [
            piece(matrix, 0, grid.sides[mode], grid.coordinates[mode]).to(dtype) for mode, matrix in enumerate(units)
        ]

    def update(self, mode: int, products: Tensor) -> Tensor:
        """Solve for one factor; its block's rows, of columns of norm 1."""
        group = self.given.grid.across(mode)
        rows = len(products)
        summed = reduce_scatter(padded(products, 0, size(group) * block(rows, size(group))), 0, group).double()
        others = torch.stack(self.grams[:mode] + self.grams[mode + 1 :]).prod(0)
        lower = torch.linalg.cholesky(others + _PULL * torch.eye(self.rank, dtype=others.dtype, device=others.device))
        share = torch.cholesky_solve(summed.T, lower).T
        gram, held = self._reduced(share, (share * summed).sum())
        self.explained = 2 * held - float((others * gram).sum())
        self.sizes = gram.diagonal().sqrt()
        scale = torch.where(self.sizes > 0, self.sizes, 1.0)
        self.grams[mode] = gram / scale / scale[:, None]
        return all_gather((share / scale).to(products.dtype), 0, group)[:rows]

    def _reduced(self, share: Tensor, held: Tensor) -> tuple[Tensor, float]:
        """The factor's Gram matrix and its product with the tensor's, over all ranks, in one call."""
        numbers = all_reduce(torch.cat([triangle.packed(share.T @ share), held[None]]), self.given.grid.group)
        return triangle.symmetric(numbers[:-1], self.rank), float(numbers[-1])

    def gathered(self) -> tuple[Tensor, ...]:
        """Whole columns on every rank, the terms' sizes in the first mode."""
        whole = [
            all_gather(rows, 0, self.given.grid.along(mode))[: self.given.shape[mode]]
            for mode, rows in enumerate(self.blocks)
        ]
        return ((whole[0] * self.sizes).to(whole[0].dtype), *whole[1:])


def cp_als_cost(shape: Sequence[int], rank: int, sides: Sequence[int], sweeps: int) -> Volume:
    """Of `cp_als` on a grid with `sides`: one word at the start, `sweeps` sweeps done, and the gathering at the end."""
    ranks, local = math.prod(sides), block_shape(shape, sides)
    once: list[Volume] = [Volume(sweep_flops(local, rank))]
    for rows, count in zip(local, (ranks // side for side in sides), strict=True):
        words = count * block(rows, count) * rank
        solving = Volume(block(rows, count) * rank * (3.0 * rank + 1) + rank**3 / 3)
        once += [call(words, count, words), solving, call(triangle.size(rank) + 1, ranks), call(words, count, words)]
    ends = [call(side * rows * rank, side) for rows, side in zip(local, sides, strict=True)]
    return total([Volume(2.0 * math.prod(local)), call(1, ranks), *once * sweeps, *ends])


def best_grid(shape: Sequence[int], rank: int, count: int) -> tuple[int, ...]:
    """The grid of `count` ranks on which a sweep communicates fewest words, of equals that with least arithmetic.

    Of those again the last modes are cut first: the Khatri-Rao product that a rank forms is then shorter.
    """
    costs = {sides: cp_als_cost(shape, rank, sides, 1) for sides in factorisations(count, len(shape))}
    return min(costs, key=lambda sides: (costs[sides].words, costs[sides].flops, sides))


def _start(given: Distributed, rank: int, seed: int, start: Sequence[Tensor] | None) -> list[Tensor]:
    if start is not None:
        _check_start([tuple(matrix.shape) for matrix in start], given.shape, rank)
    columns = []
    for mode, side in enumerate(given.shape):
        index = torch.arange(side * rank, device=given.local.device).reshape(side, rank)
        known = index[:, :0].double() if start is None else start[mode].double()
        columns.append(torch.cat([known, normal((seed, mode), index)[:, known.shape[1] :]], 1))
    return columns


def _check_start(got: Sequence[tuple[int, ...]], sides: Sequence[int], rank: int) -> None:
    terms = got[0][-1] if got else 0
    if got != [(side, terms) for side in sides] or terms > rank:
        raise ValueError(
            f"got columns {', '.join(map(str, got))} to start from, wanted "
            f"{', '.join(f'({side}, r)' for side in sides)} with r of at most {rank}; leave columns out, or raise the "
            f"rank"
        )


def _energy(tensor: Tensor) -> Tensor:
    """The sum of squares in float64, without a copy: sums of parts of it are, where the parts are not."""
    return torch.stack([part.dot(part) for part in tensor.flatten().split(_PART)]).sum(dtype=torch.float64)


def _unit(matrix: Tensor) -> Tensor:
    norms = matrix.norm(dim=0)
    return matrix / torch.where(norms > 0, norms, 1.0)
