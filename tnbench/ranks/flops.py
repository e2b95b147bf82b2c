"""Multiply-accumulates of the whole network at most dense/R: one budget, given where it saves most error."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, Probe
from tnbench.ranks._budget import Priced, share_out
from tnbench.ranks._scale import Multiples, read_number, wrong

VERSION = 1
PATTERN = ("flops-xR", r"flops-x[-+.0-9].*")
Options = Multiples

_WANTED = "flops-x and a number from 1 up, such as 'flops-x2.5' for 2.5 times fewer multiply-accumulates"


def check(text: str) -> None:
    """Raise UsageError unless R is a number from 1 up."""
    if read_number(text, "flops-x", _WANTED) < 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """Ranks, or the dense layer, that keep most energy along the network within the budget.

    Convolutions and linear layers that are no candidates count. Raises NotApplicable for a ratio out of reach, and
    where the size of the pictures is unknown.
    """
    check(text)
    layers = [_priced(text, candidate) for candidate in candidates]
    return share_out(text, "flops-x", layers, probe.macs_elsewhere, "multiply-accumulates", probe, options.multiple)


def _priced(text: str, candidate: Candidate) -> Priced:
    if candidate.macs is None or candidate.dense_macs is None:
        raise NotApplicable(
            f"{text} counts multiply-accumulates, and the size of the pictures that reach layer {candidate.name!r} "
            f"is unknown; take net-xR, or give the size"
        )
    return Priced(candidate, candidate.macs, candidate.dense_macs)
