"""A network whose layers were swapped, before it is asked how close its factors are to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from tnbench.core.protocols import Factors, Ranks
from tnbench.core.registry import Bound
from tnbench.engine.applied import Applied


class Swapped(NamedTuple):
    """`targets`, `ranks` and `factors` go by the name of what was factorised at a time: a layer, or a group of layers.

    `methods` are those of each compressed layer, and `rank` the policy as written in a case. `notes` say of each layer
    that stays dense why. A network that was narrowed has no targets, and one method under the name of its one part.
    """

    model: nn.Module
    targets: Mapping[str, Applied]
    ranks: Mapping[str, Ranks]
    factors: Mapping[str, Factors]
    notes: Mapping[str, str]
    methods: Mapping[str, Bound]
    rank: str
