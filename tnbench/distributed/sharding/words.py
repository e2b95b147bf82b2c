"""Words that the ranks exchange for one layer, from sizes alone: what the counters of `collectives` show."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.distributed.halo import sent_rows
from tnbench.distributed.placement import joined_words
from tnbench.distributed.sharding import roles as roles_
from tnbench.distributed.sharding.rows import rows_window
from tnbench.distributed.sharding.shapes import Sizes, sizes

LayerCut = roles_.Cut | Literal["spatial"]
"""How the ranks share one layer: by a cut of its chain, or by the rows of its images."""


class Words(NamedTuple):
    """Words of one forward and one backward pass, as one rank counts them."""

    forward: int
    backward: int


def layer_words(chain: nn.Module, in_shape: Shape, batch: int, ranks: int, cut: LayerCut) -> Words:
    """Words for `chain` and a batch of `batch` inputs of `in_shape` (C, *sides), or (I,); weights may be on meta.

    ``rank``: forward a sum over C_out channels, backward one over the channels that enter the factor that is cut along
    its outputs. ``bottleneck``: a sum over R1 channels and one over R2; ``bottleneck_split`` besides, per dense core,
    an all-gather of its outputs and a sum over its inputs. ``spatial``: the halos of the rank that sends most, and
    backward also the sum of the weights' gradients.

    Backward is for a chain whose input wants a gradient. What the graph exchanges between layers, to join channels for
    a dense layer, say, is not in it.

    Raises NotApplicable with the reason where the chain stays whole.
    """
    if ranks == 1:
        return Words(0, 0)
    along = sizes(chain, in_shape)
    if cut == "spatial":
        return _spatial(chain, along, batch, ranks)
    given = roles_.roles(chain, ranks, cut)
    if isinstance(given, str):
        raise NotApplicable(f"the layer is whole on each rank: {given}")
    forward = sum(_forward(role, step, ranks) for role, step in zip(given, along, strict=True))
    backward = sum(math.prod(step.inp) for role, step in zip(given, along, strict=True) if role.copies)
    return Words(batch * forward, batch * backward)


def _forward(role: roles_.Role, step: Sizes, ranks: int) -> int:
    if role.joins:
        return joined_words(step.out, 0, ranks)
    return math.prod(step.out) if role.sums else 0


def _spatial(chain: nn.Module, along: list[Sizes], batch: int, ranks: int) -> Words:
    parameters = sum(parameter.numel() for parameter in chain.parameters() if parameter.requires_grad)
    per_rank = [spatial_words(chain, along[0].inp, batch, ranks, rank) for rank in range(ranks)]
    return Words(max(words.forward for words in per_rank), parameters + max(words.backward for words in per_rank))


def spatial_words(chain: nn.Module, in_shape: Shape, batch: int, ranks: int, rank: int) -> Words:
    """The halos alone, as rank number `rank` sends them; (0, 0) at a linear layer, which has no rows."""
    forward = backward = 0
    for step in sizes(chain, in_shape):
        if isinstance(step.layer, nn.Linear):
            raise NotApplicable("the layer is whole on each rank: it is linear and has no rows")
        channels, rows, *others = step.inp
        given, got = sent_rows(rows_window(step.layer), rows, ranks)[rank]
        forward += batch * channels * given * math.prod(others)
        backward += batch * channels * got * math.prod(others)
    return Words(forward, backward)
