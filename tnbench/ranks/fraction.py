"""Every rank the fraction F of the largest useful one, 0 < F <= 1, rounded down."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.protocols import Candidate, Choice, Probe
from tnbench.ranks._scale import Multiples, read_number, scaled, smaller_or_dense, wrong

VERSION = 1
PATTERN = ("fF", r"f[-+.0-9].*")
Options = Multiples

_WANTED = "f and a number above 0 and up to 1, such as 'f0.5' for half of the largest useful ranks"


def check(text: str) -> None:
    """Raise UsageError unless 0 < F <= 1."""
    if not 0 < read_number(text, "f", _WANTED) <= 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The same fraction in every layer; one that it would not make smaller stays dense."""
    check(text)
    fraction = read_number(text, "f", _WANTED)
    return [
        smaller_or_dense(candidate, scaled(candidate.largest, fraction, options.multiple)) for candidate in candidates
    ]
