"""What a cut leaves to be computed by each rank in full, and the bound on speedup that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.distributed.sharding.chains import factors
from tnbench.distributed.sharding.roles import Cut, Role, roles
from tnbench.distributed.sharding.shapes import sizes
from tnbench.layers.geometry import Geometry


class Macs(NamedTuple):
    """Multiply-accumulates of a layer: all, and those of factors that are whole on each rank."""

    total: int | Fraction
    replicated: int | Fraction

    def speedup_cap(self, ranks: int | None = None) -> float:
        """Amdahl's bound for `ranks`, or for any number of them.

        >>> Macs(100, 50).speedup_cap(), Macs(100, 50).speedup_cap(2), Macs(100, 0).speedup_cap()
        (2.0, 1.3333333333333333, inf)
        """
        rest = self.replicated + (Fraction(self.total - self.replicated) / ranks if ranks else 0)
        return float(self.total / Fraction(rest)) if rest else math.inf


def chain_macs(chain: nn.Module, in_shape: Shape, ranks: int, cut: Cut) -> Macs:
    """Of one picture (C, *sides), or of one (I,). Raises NotApplicable where the chain stays whole."""
    given = roles(chain, ranks, cut)
    if isinstance(given, str):
        raise NotApplicable(f"the layer is whole on each rank: {given}")
    return _summed([step.macs for step in sizes(chain, in_shape)], given)


def relative_macs(chain: nn.Module, given: Sequence[Role]) -> Macs:
    """As `chain_macs` per position of the input, for large pictures: from weights and strides alone."""
    each: list[Fraction] = []
    positions = Fraction(1)
    for layer in factors(chain):
        if not isinstance(layer, nn.Linear):
            positions /= math.prod(Geometry.of(layer).stride)
        each.append(positions * layer.weight.numel())
    return _summed(each, given)


def cap_note(given: Mapping[str, Macs]) -> str | None:
    """What whole factors mean for the speedup of the layers; None where no factor is whole."""
    capped = {name: macs for name, macs in given.items() if macs.replicated}
    if not capped:
        return None
    shares = sorted(float(macs.replicated / Fraction(macs.total)) for macs in capped.values())
    least = min(capped, key=lambda name: capped[name].speedup_cap())
    return (
        f"in {len(capped)} layers some factors are whole on each rank: {shares[0]:.0%} to {shares[-1]:.0%} of a "
        f"layer's multiply-accumulates, so that no number of ranks makes {least} more than "
        f"{capped[least].speedup_cap():.2f} times faster"
    )


def _summed(each: Sequence[int | Fraction], given: Sequence[Role]) -> Macs:
    whole = [macs for macs, role in zip(each, given, strict=True) if role.kind == "whole"]
    return Macs(sum(each), sum(whole))
