"""Hierarchical Tucker decomposition of a kernel over the tree {{O, I}, {sides}}."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tnbench.linalg.hosvd import Solve
from tnbench.linalg.tucker import hooi


class Tree(NamedTuple):
    """W[o,i,...] = Σ_s P_s[o,i] filters[s,...] with the channel pairs P_s = out · pairs[:, :, s] · inp'.

    `out` (O, rO) and `inp` (I, rI) are the leaves of the channels, `pairs` (rO, rI, S) their node and `filters`
    (S, *k) that of the kernel's sides; the root is the identity over s.
    """

    out: Tensor
    inp: Tensor
    pairs: Tensor
    filters: Tensor


def hierarchical_tucker(tensor: Tensor, ranks: tuple[int, int, int], solve: Solve = hooi) -> Tree:
    """The tree of `tensor` (O, I, *k), with ranks (rO, rI, S) of the nodes {O}, {I} and {sides}.

    Hackbusch and Kühn, "A new scheme for the tensor representation" (2009). The leaves of single sides keep full rank,
    which folds them into their node: a side of three or five leaves little to cut. The frames of the three nodes are
    then those of the modes of the tensor (O, I, k): with `solve` = `hosvd` they are the singular vectors of Grasedyck,
    "Hierarchical singular value decomposition of tensors" (2010); `hooi` iterates them together from there.
    """
    core, (out, inp, frame) = solve(tensor.flatten(2), ranks, (0, 1, 2))
    return Tree(out, inp, core, frame.T.reshape(-1, *tensor.shape[2:]))
