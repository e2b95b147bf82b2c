"""Parameters of the whole network at most dense/R: one budget, given to the layers where it saves most error."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.protocols import Candidate, Choice, Probe
from tnbench.ranks._budget import Priced, share_out
from tnbench.ranks._scale import Multiples, read_number, wrong

VERSION = 1
PATTERN = ("net-xR", r"net-x[-+.0-9].*")
Options = Multiples

_WANTED = "net-x and a number from 1 up, such as 'net-x4' for a quarter of the network's parameters"


def check(text: str) -> None:
    """Raise UsageError unless R is a number from 1 up."""
    if read_number(text, "net-x", _WANTED) < 1:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """Ranks, or the dense layer, that keep most energy along the network within the budget.

    What no rank reaches counts: other layers, biases, normalisation. Raises NotApplicable for a ratio out of reach.
    """
    check(text)
    layers = [Priced(candidate, candidate.count, candidate.dense) for candidate in candidates]
    return share_out(text, "net-x", layers, probe.elsewhere, "parameters", probe, options.multiple)
