"""QR decomposition of a tall matrix whose rows are spread over ranks, by a butterfly of small ones."""

from __future__ import annotations

import torch
from torch import Tensor

from tnbench.distributed import triangle
from tnbench.distributed.collectives import Group, exchange, rank_in, size
from tnbench.distributed.grid import padded
from tnbench.distributed.volume import Volume


def tsqr(rows: Tensor, group: Group = None) -> tuple[Tensor, Tensor]:
    """This rank's rows of Q (m_p, n), and R (n, n) upper triangular on every rank, of all ranks' `rows` (m_p, n).

    Demmel, Grigori, Hoemmen and Langou, "Communication-optimal parallel and sequential QR and LU factorizations" (SIAM
    Journal on Scientific Computing 2012). After a local QR the ranks exchange triangles in pairs, log2 P times, and
    both of a pair decompose what they have together; so all end with the same R, whose diagonal is not negative.
    Ranks beyond the largest power of two join one below it first and get their share at the end. Where there are fewer
    than n rows in all, Q keeps lengths only in what Q R can reach.

    Costs 4 m n² / P + 10/3 n³ log2 P flops or so and n(n+1)/2 words an exchange; see `tsqr_cost`.
    """
    m, n = rows.shape
    basis, top = torch.linalg.qr(padded(rows, 0, max(m, n)))
    inner, top = _combined(top, group)
    signs = torch.where(top.diagonal() < 0, -1.0, 1.0).to(rows.dtype)
    return (basis @ (inner * signs))[:m], top * signs[:, None]


def triangle_of(rows: Tensor, group: Group = None) -> Tensor:
    """R alone, as `tsqr` gives it, at half of its local work."""
    n = rows.shape[1]
    _, top = _combined(torch.linalg.qr(padded(rows, 0, max(len(rows), n)), mode="r").R, group)
    signs = torch.where(top.diagonal() < 0, -1.0, 1.0).to(rows.dtype)
    return top * signs[:, None]


def tsqr_cost(m: int, n: int, ranks: int, *, only_r: bool = False) -> Volume:
    """Of `tsqr` with `m` rows on a rank, or of `triangle_of`; of the rank that has most to send.

    A triangle for each of floor(log2 P) exchanges; where P is no power of two, one more to join and n² + n(n+1)/2 back.
    """
    levels = ranks.bit_length() - 1
    folded = ranks > 1 << levels
    half = triangle.size(n)
    exchanges = (levels + folded) * half + folded * (n * n + half)
    work = (2 if only_r else 4) * max(m, n) * n * n + (levels + folded) * 10 / 3 * n**3
    return Volume(work, exchanges, levels + 2 * folded, exchanges)


def _combined(top: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """The square matrix (n, n) by which to multiply a local Q, and the common R."""
    rank, ranks = rank_in(group), size(group)
    power = 1 << (ranks.bit_length() - 1)
    inner = torch.eye(len(top), dtype=top.dtype, device=top.device)
    partner = rank ^ power
    folded = partner < ranks  # this rank, or one that joins it, is beyond the largest power of two
    if folded:
        inner, top = _joined(top, partner, rank < partner, group)
    if rank < power:
        later = torch.eye(len(top), dtype=top.dtype, device=top.device)
        step = 1
        while step < power:
            own, top = _joined(top, rank ^ step, rank & step == 0, group)
            later = later @ own
            step *= 2
        if folded:
            exchange([(partner, torch.cat([later.flatten(), triangle.packed(top)]))], [], group)
    else:
        n = len(top)
        got = top.new_empty(n * n + triangle.size(n))
        exchange([], [(partner, got)], group)
        later, top = got[: n * n].reshape(n, n), triangle.upper(got[n * n :], n)
    return inner @ later, top


def _joined(top: Tensor, partner: int, first: bool, group: Group) -> tuple[Tensor, Tensor]:
    """This rank's half (n, n) of the Q of both ranks' triangles, one above the other, and their R."""
    n = len(top)
    own = triangle.packed(top)
    got = torch.empty_like(own)
    exchange([(partner, own)], [(partner, got)], group)
    other = triangle.upper(got, n)
    basis, top = torch.linalg.qr(torch.cat([top, other] if first else [other, top]))
    return basis[:n] if first else basis[n:], top
