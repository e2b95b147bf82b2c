"""One budget for the whole network: dense/R of its weights or of its multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe
from tnbench.ranks._allocate import Step, allocate, ladder
from tnbench.ranks._scale import least, rounded_down
from tnbench.ranks._spectrum import Cost

_MOST = 1 - 1e-6
"""Bounds on squared errors may reach 1 and more, where nothing would be kept."""


class Priced(NamedTuple):
    """A candidate with what is counted: the cost of its ranks, and of the dense layer."""

    candidate: Candidate
    cost: Cost
    dense: int

    @property
    def least(self) -> int:
        """The least that the layer can be brought to."""
        return min(self.dense, self.cost(least(self.candidate)))


def share_out(
    text: str, prefix: str, layers: Sequence[Priced], elsewhere: int, unit: str, probe: Probe, multiple: int
) -> list[Choice]:
    """Ranks whose costs, with `elsewhere`, add up to at most the dense network's divided by R.

    A layer with the relative error e keeps the share 1 - e² of its energy, whatever its size, which normalisation or
    the next layer undoes. Shares multiply along the network, so what is made least is the sum of -log(1 - e²): about
    the sum of squared errors where these are small, but no layer is given up for the others.

    `text` is the policy's `prefix` and R; `unit` is what is counted. Raises NotApplicable, with the largest ratio that
    can be reached, where every rank 1 is above the budget.
    """
    ratio = Fraction(text.removeprefix(prefix))
    total = elsewhere + sum(layer.dense for layer in layers)
    lowest = elsewhere + sum(layer.least for layer in layers)
    if lowest * ratio > total:
        raise NotApplicable(
            f"{text} cannot be reached: with every rank 1 the network has {lowest:,} of {total:,} {unit}, "
            f"{elsewhere:,} of them where no rank reaches; "
            f"its largest reachable ratio is {prefix}{rounded_down(total / lowest)}"
        )
    ladders = [
        [step._replace(error=-math.log1p(-min(step.error, _MOST))) for step in steps]
        for steps in (
            ladder(each.candidate, probe, each.cost, each.dense, float(1 / ratio), multiple) for each in layers
        )
    ]
    steps = allocate(ladders, math.floor(total / ratio) - elsewhere)
    return [_choice(text, layer, step, unit) for layer, step in zip(layers, steps, strict=True)]


def _choice(text: str, layer: Priced, step: Step, unit: str) -> Choice:
    if step.ranks is not None:
        return step.ranks
    if layer.least == layer.dense:
        spent = layer.cost(least(layer.candidate))
        return KeepDense(f"every rank 1 would take {spent:,} {unit}, dense takes {layer.dense:,}")
    return KeepDense(
        f"{text} gives it the {layer.dense:,} {unit} of the dense layer: they save more error than elsewhere"
    )
