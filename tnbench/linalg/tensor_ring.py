"""Tensor ring: a train whose ends meet, by sequential SVDs or alternating least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tnbench.linalg.low_rank import low_rank

Cores = tuple[Tensor, ...]
"""One core (r_j, n_j, r_{j+1}) per mode, the last of which ends with r_0. Entries are traces of products of slices."""

_RIDGE = 1e-10


def ring_svd(
    tensor: Tensor,
    ranks: Sequence[int],
    truncate: Callable[[Tensor, int], tuple[Tensor, Tensor]] = low_rank,
) -> Cores:
    """Cores of `tensor` (n_0, ..., n_{d-1}), d >= 2, with the ring's `ranks` r_0, ..., r_{d-1}.

    Algorithm 1 of Zhao, Zhou, Xie, Zhang and Cichocki, "Tensor ring decomposition" (2016): the rank of the first
    unfolding is r_0 r_1, the later ones are a train's. A rank above what the matrix at its bond has is filled up with
    zeros. Raises ValueError where r_0 r_1 is above the first unfolding's shorter side.
    """
    limit = _first_rank(tensor.shape)
    if ranks[0] * ranks[1] > limit:
        raise ValueError(f"ring ranks {tuple(ranks)}: got r0 r1 = {ranks[0] * ranks[1]}, wanted at most {limit}")
    left, rest = truncate(tensor.reshape(tensor.shape[0], -1), ranks[0] * ranks[1])
    cores = [left.reshape(-1, ranks[0], ranks[1]).transpose(0, 1)]
    rest, before = rest.reshape(ranks[0], ranks[1], -1).permute(1, 2, 0), ranks[1]
    for size, rank in zip(tensor.shape[1:-1], ranks[2:], strict=True):
        matrix = rest.reshape(before * size, -1)
        left, rest = truncate(matrix, min(rank, *matrix.shape))
        cores.append(left.reshape(before, size, -1))
        before = left.shape[1]
    return padded((*cores, rest.reshape(before, tensor.shape[-1], ranks[0])), ranks)


def ring_best_svd(tensor: Tensor, ranks: Sequence[int]) -> Cores:
    """The best `ring_svd` of ranks (r'_0, r'_1, r_2, ...) with r'_0 <= r_0 and r'_1 <= r_1, filled up with zeros.

    How the first unfolding's rank is shared by r_0 and r_1 is free, and matters much. Without an error where
    `exact_split` finds one, as at `largest_ranks`.
    """
    _, cores = _best(tensor, ranks)
    return padded(cores, ranks)


def best_split(tensor: Tensor, ranks: Sequence[int]) -> tuple[int, int]:
    """(r'_0, r'_1), as `ring_best_svd` finds them."""
    split, _ = _best(tensor, ranks)
    return split


def _best(tensor: Tensor, ranks: Sequence[int]) -> tuple[tuple[int, int], Cores]:
    exact = exact_split(tensor.shape, ranks)
    splits = [exact] if exact else _splits(tensor.shape, ranks)
    solved = ((split, ring_svd(tensor, (*split, *ranks[2:]))) for split in splits)
    # All cores but the last are isometries, so its norm is that of the approximation, which is a projection.
    return max(solved, key=lambda pair: float(pair[1][-1].norm()))


def ring_als(tensor: Tensor, start: Cores, *, max_sweeps: int = 50, tolerance: float = 1e-3, window: int = 5) -> Cores:
    """Cores of the ranks of `start`, from it by alternating least squares over the cores, in float64.

    Algorithm 2 of Zhao et al. (2016), by normal equations: their matrix comes from products of the cores' transfer
    matrices (r_j², r_{j+1}²), their right side from `tensor` contracted with one core after the other, so nothing
    larger than r² times the tensor without its largest mode arises. A small pull towards the old core keeps singular
    systems solvable and the error from rising. It stops when `window` sweeps together lower the error by less than
    `tolerance` of itself.
    """
    energy = float(tensor.square().sum())
    cores, errors = list(start), [relative_error(tensor, start)]
    for _ in range(max_sweeps if energy > 0 else 0):
        squared = energy
        for mode in range(len(cores)):
            cores[mode], squared = _update(tensor, cores, mode, energy)
            _orthonormalise(cores, mode)
        errors.append(math.sqrt(max(0.0, squared) / energy))
        if len(errors) > window and errors[-1 - window] - errors[-1] <= tolerance * errors[-1]:
            break
    return tuple(cores)


def contract(cores: Sequence[Tensor]) -> Tensor:
    """The tensor (n_0, ..., n_{d-1}) of a ring's cores."""
    around = chain(cores)
    whole = around.diagonal(dim1=0, dim2=2).sum(-1)
    return whole.reshape([core.shape[1] for core in cores])


def chain(cores: Sequence[Tensor]) -> Tensor:
    """(r, n n' ..., r''): neighbouring cores (r, n, r'), (r', n', r''), ... as one."""
    whole = cores[0]
    for core in cores[1:]:
        whole = torch.tensordot(whole, core, dims=1).flatten(1, 2)
    return whole


def padded(cores: Sequence[Tensor], ranks: Sequence[int]) -> Cores:
    """The same ring with zeros up to `ranks`."""
    after = (*ranks[1:], ranks[0])
    return tuple(
        torch.nn.functional.pad(core, (0, right - core.shape[2], 0, 0, 0, left - core.shape[0]))
        for core, left, right in zip(cores, ranks, after, strict=True)
    )


def widened(cores: Sequence[Tensor], ranks: Sequence[int], *, seed: int) -> Cores:
    """The same ring with larger `ranks`, whose new slices are random before a bond and zero behind it.

    So the tensor stays as it is, and least squares find a use for them. The same seed gives the same bits on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    wide = padded(cores, ranks)
    for core, old in zip(wide, cores, strict=True):
        left, size, right = old.shape
        drawn = torch.randn(left, size, core.shape[2] - right, generator=generator, dtype=torch.float64)
        core[:left, :, right:] = (drawn / math.sqrt(left * size)).to(core)
    return wide


def largest_ranks(sizes: Sequence[int]) -> tuple[int, ...]:
    """Equal ranks, the least at which `ring_best_svd` reproduces every tensor of these sizes."""
    return (min(max(split[0], *_chain_ranks(sizes, split)) for split in _divisors(sizes)),) * len(sizes)


def exact_split(sizes: Sequence[int], ranks: Sequence[int]) -> tuple[int, int] | None:
    """(r_0, r_1) within `ranks` at which sequential SVDs leave nothing out, whatever the tensor; None without one."""
    for split in _divisors(sizes):
        if split[0] <= ranks[0] and all(
            need <= rank for need, rank in zip(_chain_ranks(sizes, split), ranks[1:], strict=True)
        ):
            return split
    return None


def relative_error(tensor: Tensor, cores: Sequence[Tensor]) -> float:
    """||X - X~|| / ||X||; 0 for a tensor of zeros and its exact ring."""
    norm = float(tensor.norm())
    distance = float(torch.dist(tensor, contract(cores)))
    return distance / norm if norm > 0 else distance


def _first_rank(sizes: Sequence[int]) -> int:
    return min(sizes[0], math.prod(sizes[1:]))


def _divisors(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    limit = _first_rank(sizes)
    return ((limit // second, second) for second in range(1, limit + 1) if limit % second == 0)


def _chain_ranks(sizes: Sequence[int], split: tuple[int, int]) -> list[int]:
    """r_1, r_2, ... of an exact ring that begins with `split`."""
    around, ranks = split[0], [split[1]]
    for mode in range(1, len(sizes) - 1):
        ranks.append(min(ranks[-1] * sizes[mode], math.prod(sizes[mode + 1 :]) * around))
    return ranks


def _splits(sizes: Sequence[int], ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    limit = _first_rank(sizes)
    return ((min(ranks[0], limit // second), second) for second in range(1, min(ranks[1], limit) + 1))


def _update(tensor: Tensor, cores: Sequence[Tensor], mode: int, energy: float) -> tuple[Tensor, float]:
    """The least-squares core of one mode, and the squared error with it."""
    old = cores[mode]
    left, size, right = old.shape
    around = [*cores[mode + 1 :], *cores[:mode]]
    gram = _gram(around)
    products = _products(tensor, cores, mode).transpose(1, 2).reshape(left * right, size)
    ridge = _RIDGE * float(gram.diagonal().max().clamp(min=torch.finfo(gram.dtype).tiny))
    flat = old.transpose(1, 2).reshape(left * right, size)
    system = gram + ridge * torch.eye(left * right, dtype=gram.dtype, device=gram.device)
    new = torch.cholesky_solve(products + ridge * flat, torch.linalg.cholesky(system))
    squared = energy + float((new * (gram @ new - 2 * products)).sum())
    return new.reshape(left, right, size).transpose(1, 2), squared


def _gram(around: Sequence[Tensor]) -> Tensor:
    """(r r', r r') of the design matrix of a core (r, n, r'), from the cores `around` it, beginning with r'."""
    transfer = None
    for core in around:
        step = torch.einsum("anb,cnd->acbd", core, core).flatten(2).flatten(0, 1)
        transfer = step if transfer is None else transfer @ step
    if transfer is None:
        raise ValueError("a ring has two cores or more")
    right, left = around[0].shape[0], around[-1].shape[2]
    blocks = transfer.reshape(right, right, left, left)
    return blocks.permute(2, 0, 3, 1).reshape(left * right, left * right)


def _products(tensor: Tensor, cores: Sequence[Tensor], mode: int) -> Tensor:
    """(r, n, r'): `tensor` contracted with all cores but that of `mode`."""
    d = len(cores)
    if tensor.shape[(mode + 1) % d] < tensor.shape[mode - 1]:
        # The other way round, so that the larger neighbour goes first and what arises is small.
        mirrored = [core.transpose(0, 2) for core in reversed(cores)]
        return _products_forward(tensor.permute(*reversed(range(d))), mirrored, d - 1 - mode).transpose(0, 2)
    return _products_forward(tensor, cores, mode)


def _products_forward(tensor: Tensor, cores: Sequence[Tensor], mode: int) -> Tensor:
    d = len(cores)
    order = [(mode + step) % d for step in range(1, d)]
    first = cores[order[0]]
    begin, size, end = first.shape
    rest = first.transpose(1, 2).reshape(begin * end, size) @ tensor.permute(*order, mode).reshape(size, -1)
    for other in order[1:]:
        core = cores[other]
        rest = core.flatten(0, 1).T @ rest.reshape(begin, core.shape[0] * core.shape[1], -1)
    return rest.reshape(begin, cores[mode].shape[0], tensor.shape[mode]).permute(1, 2, 0)


def _orthonormalise(cores: list[Tensor], mode: int) -> None:
    """Make one core left-orthonormal and give the rest to the next one, which keeps the systems well conditioned."""
    left, size, right = cores[mode].shape
    after = (mode + 1) % len(cores)
    if right <= left * size:
        basis, triangle = torch.linalg.qr(cores[mode].reshape(left * size, right))
        cores[mode] = basis.reshape(left, size, right)
        cores[after] = torch.tensordot(triangle, cores[after], dims=1)
