"""The nearest sum of Kronecker products of a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from tnbench.linalg.low_rank import low_rank


def rearranged(weight: Tensor, left: tuple[int, int]) -> Tensor:
    """The matrix (o1·i1, o2·i2·k) of `weight` (o1·o2, i1·i2, *k) with `left` = (o1, i1).

    Kronecker products A ⊗ B become outer products vec(A) vec(B)': sums of S of them are matrices of rank S.

    >>> rearranged(torch.kron(torch.eye(2), torch.ones(3, 4)), (2, 2)).shape
    torch.Size([4, 12])
    """
    (o1, i1), (O, I, *_) = left, weight.shape
    blocks = weight.reshape(o1, O // o1, i1, I // i1, -1).transpose(1, 2)
    return blocks.reshape(o1 * i1, -1)


def nearest_kronecker_sum(weight: Tensor, left: tuple[int, int], terms: int) -> tuple[Tensor, Tensor]:
    """A (S, o1, i1) and B (S, o2, i2, *k) whose sum of A_s ⊗ B_s is nearest to `weight` (o1·o2, i1·i2, *k) in float64.

    Van Loan and Pitsianis, "Approximation with Kronecker products" (1993): the truncated SVD of the rearranged tensor,
    so the Frobenius error is the least for `left` = (o1, i1) and S = `terms` <= min(o1·i1, o2·i2·k). Singular values
    are shared evenly.
    """
    (o1, i1), (O, I, *k) = left, weight.shape
    one, other = low_rank(rearranged(weight, left), terms)
    values = other.norm(dim=1)
    roots = torch.where(values > 0, values, 1.0).sqrt()
    return (one * roots).T.reshape(-1, o1, i1), (other / roots[:, None]).reshape(-1, O // o1, I // i1, *k)


def kronecker_sum(one: Tensor, other: Tensor) -> Tensor:
    """The sum of A_s ⊗ B_s, (o1·o2, i1·i2, *k), of A (S, o1, i1) and B (S, o2, i2, *k)."""
    (_, o1, i1), (_, o2, i2, *k) = one.shape, other.shape
    blocks = torch.einsum("sab,sck->acbk", one, other.flatten(2))
    return blocks.reshape(o1, o2, i1, i2, *k).reshape(o1 * o2, i1 * i2, *k)
