"""Every rank N, or the largest useful one where that is less."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.protocols import Candidate, Choice, Probe
from tnbench.ranks._scale import Multiples, in_multiples, read_number, smaller_or_dense, wrong

VERSION = 1
PATTERN = ("kN", r"k[-+.0-9].*")
Options = Multiples

_WANTED = "k and a whole number from 1 up, such as 'k16'"


def check(text: str) -> None:
    """Raise UsageError unless N is a whole number from 1 up."""
    number = read_number(text, "k", _WANTED)
    if number < 1 or number.denominator != 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The same ranks in every layer; one that they would not make smaller stays dense."""
    check(text)
    most = int(read_number(text, "k", _WANTED))
    return [
        smaller_or_dense(
            candidate, in_multiples(tuple(min(most, rank) for rank in candidate.largest), options.multiple)
        )
        for candidate in candidates
    ]
