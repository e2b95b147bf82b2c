"""Ranks by empirical variational Bayes: as many singular values as stand out of the noise that it finds.

Kim et al., "Compression of deep convolutional neural networks for fast and low power mobile applications" (2016), with
the analytic solution of Nakajima et al. (2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Candidate, Choice, Probe
from tnbench.ranks._scale import Multiples, in_multiples, smaller_or_dense

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1


@dataclass(frozen=True)
class Options(Multiples):
    """`weaken`: how far from the largest rank (0) to the one found (1).

    Gusak et al., "Automated multi-stage compression of neural networks" (2019), weaken by 0.8 and repeat.
    """

    weaken: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.weaken <= 1:
            raise UsageError(f"rank vbmf: got weaken = {self.weaken:g}, wanted a number above 0 and up to 1")


def check(text: str) -> None:
    """`vbmf` always means something."""


def choose(text: str, options: Options, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """Each rank by its own unfolding, at least 1; a layer that they would not make smaller stays dense.

    Raises NotApplicable where there is no spectrum.
    """
    return [_choose(candidate, options, probe) for candidate in candidates]


def _choose(candidate: Candidate, options: Options, probe: Probe) -> Choice:
    if candidate.pooled:
        raise NotApplicable(
            f"vbmf asks for the noise of one matrix, and {candidate.name!r} has the spectrum of several together; "
            f"take e0.9 or x4"
        )
    ranks = tuple(
        _rank(values, math.prod(candidate.shape), most, options.weaken)
        for values, most in zip(probe.spectra(candidate.name), candidate.largest, strict=True)
    )
    return smaller_or_dense(candidate, in_multiples(ranks, options.multiple))


def _rank(values: Tensor, entries: int, largest: int, weaken: float) -> int:
    """An unfolding has as many rows, or columns, as singular values, and all of the weight's entries."""
    from tnbench.linalg.vbmf import evbmf_rank  # a plan checks ranks without torch and scipy

    sides = (len(values), max(len(values), entries // len(values)))
    found = min(evbmf_rank(values, sides), largest)
    return max(1, largest - math.floor(weaken * (largest - found)))
