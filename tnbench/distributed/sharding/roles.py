"""Which part of each factor of a chain a rank has, and what the ranks exchange between factors: the two cuts.

A factor is kept whole, or cut along its outputs (column-parallel in the words of Megatron-LM, arXiv:1909.08053), its
inputs (row-parallel), or its channels (depthwise). Before a factor that is cut along its outputs stands
`copy_to_ranks`, behind one that is cut along its inputs `sum_over_ranks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import nn

from tnbench.distributed.sharding.chains import Factor, channels, factors, groups, is_depthwise

Kind = Literal["whole", "outputs", "inputs", "channels"]
Cut = Literal["rank", "bottleneck", "bottleneck_split"]


class Role(NamedTuple):
    """What becomes of one factor."""

    kind: Kind = "whole"
    copies: bool = False
    """Whether `copy_to_ranks` stands before it."""
    joins: bool = False
    """Whether `join_channels` stands behind it."""

    @property
    def sums(self) -> bool:
        """Whether `sum_over_ranks` stands behind it."""
        return self.kind == "inputs"


WHOLE, INPUTS, CHANNELS = Role(), Role("inputs"), Role("channels")
OUTPUTS, OUTPUTS_JOINED = Role("outputs", copies=True), Role("outputs", copies=True, joins=True)


def roles(chain: nn.Module, ranks: int, cut: Cut) -> list[Role] | str:
    """The role of each factor under `cut`, or the reason why the chain stays whole."""
    layers = factors(chain)
    given = _rank_cut(layers) if cut == "rank" else _bottleneck_cut(layers, cut == "bottleneck_split")
    if isinstance(given, str):
        return given
    for layer, role in zip(layers, given, strict=True):
        inp, out = channels(layer)
        side = {"whole": ranks, "outputs": out, "inputs": inp, "channels": out}[role.kind]
        if side < ranks:
            what = "outputs" if role.kind == "outputs" else "inputs" if role.kind == "inputs" else "channels"
            return f"one of its factors has {side} {what} for {ranks} ranks"
    return given


def _rank_cut(layers: Sequence[Factor]) -> list[Role] | str:
    """From the dense factor before the depthwise ones to the dense one behind them; else the last two factors.

    The first of the two is cut along its outputs, the last along its inputs, those between by channel, so that one
    all-reduce behind the last is all.
    """
    depthwise = [index for index, layer in enumerate(layers) if is_depthwise(layer)]
    start, stop = (depthwise[0] - 1, depthwise[-1] + 1) if depthwise else (len(layers) - 2, len(layers) - 1)
    if start < 0 or stop >= len(layers) or len(depthwise) not in (0, stop - start - 1):
        return "its depthwise factors do not stand between two dense ones"
    if max(groups(layers[start]), groups(layers[stop])) > 1:
        return "the factors to be cut have groups"
    inner = [CHANNELS] * (stop - start - 1)
    return [*[WHOLE] * start, OUTPUTS, *inner, INPUTS, *[WHOLE] * (len(layers) - stop - 1)]


def _bottleneck_cut(layers: Sequence[Factor], split_cores: bool) -> list[Role] | str:
    """The first factor along its inputs, the last along its outputs, the cores between whole.

    With `split_cores` each dense core is cut along its outputs, which an all-gather joins again; a depthwise core has
    so little to do that it stays whole.
    """
    if max(groups(layers[0]), groups(layers[-1])) > 1:
        return "its first or its last factor has groups"
    cores = [OUTPUTS_JOINED if split_cores and groups(core) == 1 else WHOLE for core in layers[1:-1]]
    return [INPUTS, *cores, OUTPUTS]
