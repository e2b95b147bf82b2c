"""The fewest singular values that keep the share E of every unfolding's energy, 0 < E <= 1."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.protocols import Candidate, Choice, Probe, Ranks
from tnbench.ranks._scale import Multiples, allowed, read_number, smaller_or_dense, wrong
from tnbench.ranks._spectrum import Tail, tails

VERSION = 1
PATTERN = ("eE", r"e[-+.0-9].*")
Options = Multiples

_WANTED = "e and a number above 0 and up to 1, such as 'e0.9' for nine tenths of the energy"


def check(text: str) -> None:
    """Raise UsageError unless 0 < E <= 1."""
    if not 0 < read_number(text, "e", _WANTED) <= 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """Each rank by its own unfolding; a layer that they would not make smaller stays dense.

    A `multiple` rounds up, so that the energy is kept. Raises NotApplicable where there is no spectrum.
    """
    check(text)
    lost = float(1 - read_number(text, "e", _WANTED))
    return [_choose(candidate, lost, options.multiple, probe) for candidate in candidates]


def _choose(candidate: Candidate, lost: float, multiple: int, probe: Probe) -> Choice:
    spectrum = tails(probe.spectra(candidate.name), candidate.largest)
    ranks: Ranks = tuple(
        _fewest(tail, most, lost, multiple) for tail, most in zip(spectrum, candidate.largest, strict=True)
    )
    return smaller_or_dense(candidate, ranks)


def _fewest(tail: Tail, most: int, lost: float, multiple: int) -> int:
    return next((rank for rank in allowed(most, multiple) if tail[rank] <= lost), most)
