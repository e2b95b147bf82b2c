"""Findings in words, the same on the terminal, in Markdown and in JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tnbench.history.gate.findings import Change, Finding, Verdict
from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.launches import Subject
from tnbench.reporting.context import distinctions
from tnbench.reporting.formatting import MISSING, significant

HEADER = ("case", "fails on", "reference", "now", "change", "95 % bound", "launches", "verdict")
"""The columns of `row`; all but the first two and the last are numbers."""


def labels(subjects: Iterable[Subject]) -> dict[Subject, str]:
    """Each subject by its case, and where a case stands in several contexts by what tells them apart."""
    alike: dict[str, list[Subject]] = defaultdict(list)
    for subject in dict.fromkeys(subjects):
        alike[str(subject)].append(subject)
    found: dict[Subject, str] = {}
    for name, several in alike.items():
        own = distinctions(subject.context for subject in several)
        found |= {subject: f"{name} ({own[subject.context]})" if own[subject.context] else name for subject in several}
    return found


def row(finding: Finding, label: str) -> tuple[str, ...]:
    """The cells of a table's row for what was judged; of a status there are no numbers."""
    tolerance, change = finding.tolerance, finding.change
    if tolerance is None or change is None:
        return label, "status", *(MISSING,) * 5, finding.verdict
    moved, bound = in_words(change.change, tolerance), bound_in_words(change, tolerance)
    counts = f"{change.counts[0]} v {change.counts[1]}"
    medians = _number(change.reference), _number(change.now)
    return label, str(tolerance), *medians, moved, bound, counts, finding.verdict


def in_words(change: float, tolerance: Tolerance) -> str:
    """A change as its tolerance is written: ``+12.3 %`` or ``-0.5``."""
    return f"{100 * change:+.1f} %" if tolerance.relative else f"{change:+.4g}"


def bound_in_words(change: Change, tolerance: Tolerance) -> str:
    """How far it went at least: ``≥ +9.8 %``; what is counted has no bound."""
    if change.bound is None:
        return "exact"
    return f"{'≥' if tolerance.rising else '≤'} {in_words(change.bound, tolerance)}"


def counts(findings: Sequence[Finding]) -> str:
    """Such as ``2 regressed, 38 passed, 4 undecided``."""
    number = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{number[verdict]} {verdict}" for verdict in Verdict if number[verdict]) or "nothing found"


def remarks(findings: Sequence[Finding], names: dict[Subject, str]) -> list[str]:
    """What a table has no room for: each verdict and reason once, with where it holds."""
    about: dict[tuple[Verdict, str], list[str]] = defaultdict(list)
    for finding in findings:
        if finding.reason or finding.change is None:
            metric = f" {finding.tolerance.metric.name}" if finding.tolerance else ""
            about[finding.verdict, finding.reason].append(names[finding.subject] + metric)
    return [_remark(verdict, reason, where) for (verdict, reason), where in sorted(about.items(), key=_by_verdict)]


def _by_verdict(item: tuple[tuple[Verdict, str], list[str]]) -> int:
    return list(Verdict).index(item[0][0])


def _remark(verdict: Verdict, reason: str, where: Sequence[str]) -> str:
    more = f" and {len(where) - 2} more" if len(where) > 2 else ""
    return f"{verdict}{f': {reason}' if reason else ''}: {', '.join(where[:2])}{more}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else ("-" if value < 0 else "") + significant(abs(value), 4)
