"""Normal random numbers from a counter, so that any rank can draw any entry of one random matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from tnbench.engine.splitmix import draw, key

_BITS = 31


def normal(seed: Sequence[int], index: Tensor) -> Tensor:
    """A standard normal number in float64 for each of `index` (int64, any shape): a function of `seed` and index alone.

    Box and Muller, "A note on the generation of random normal deviates" (Annals of Mathematical Statistics 1958), of
    two uniform numbers of 31 bits; none is beyond 6.7. Entries of different seeds are independent.
    """
    radius = (draw(key(*seed, 0), index, 1 << _BITS).double() + 0.5) / (1 << _BITS)
    angle = draw(key(*seed, 1), index, 1 << _BITS).double() / (1 << _BITS)
    return (-2 * radius.log()).sqrt() * (2 * math.pi * angle).cos()
