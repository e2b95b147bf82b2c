"""What a check finds: of a subject, or of one metric of it, a verdict and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.launches import Subject


class Verdict(StrEnum):
    """What became of a subject or a metric; only the first fails a check."""

    regressed = "regressed"
    passed = "passed"
    undecided = "undecided"
    not_compared = "not compared"
    not_measured = "not measured now"
    new = "not in the reference"


@dataclass(frozen=True)
class Change:
    """The medians of both sides, over `counts` launches (or seeds), and how far they are apart.

    A change has the metric's unit, or is a share where the tolerance is. `bound` is its one-sided 95 % bound and `p`
    is adjusted for the number of tests; both are None for what is counted and not measured.
    """

    reference: float
    now: float
    change: float
    counts: tuple[int, int]
    bound: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Finding:
    """Of a whole subject where there is no `tolerance`; without a `change` nothing could be judged."""

    subject: Subject
    verdict: Verdict
    reason: str = ""
    tolerance: Tolerance | None = None
    change: Change | None = None


def unjudged(findings: Sequence[Finding], tolerances: Sequence[Tolerance]) -> list[Tolerance]:
    """The tolerances that nothing was held against: they could not have failed."""
    judged = {finding.tolerance for finding in findings if finding.change is not None}
    return [tolerance for tolerance in tolerances if tolerance not in judged]
