"""The gate: which cases got worse from one side to the other, and which nothing can be said of."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.record import Record
from tnbench.history.gate.findings import Finding, Verdict
from tnbench.history.gate.reference import Side
from tnbench.history.gate.significance import Comparison, compare, decide
from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.launches import Subject
from tnbench.reporting.context import distinctions


def judge(reference: Side, now: Side, tolerances: Sequence[Tolerance]) -> list[Finding]:
    """Hold every subject of one side against its like on the other; what is about whole subjects comes first.

    A metric that is measured regressed where its median over at least six launches a side went beyond the tolerance,
    as the bootstrap has it (`tnbench.measure.statistics.excess`), with the error rate of all such tests of the check
    kept near 5 % together (`tnbench.measure.statistics.holm`; docs/gate.md says how near). What is counted needs one
    launch. A case that ended well in the reference, and does not any more, regressed whatever its metrics.
    """
    findings: list[Finding] = []
    comparisons: list[Comparison] = []
    for subject, then in reference.launches.items():
        if subject not in now.launches:
            findings.append(_missing(subject, then, _strangers(subject, now, reference)))
            continue
        findings += _ends(subject, then, now.launches[subject])
        good = _good(then), _good(now.launches[subject])
        if all(good):
            comparisons += [compare(subject, tolerance, *good) for tolerance in tolerances]
    for subject in now.launches:
        if subject not in reference.launches and not _strangers(subject, reference, now):
            findings.append(_new(subject, now.launches[subject]))
    return [*findings, *decide([each for each in comparisons if any(each.counts)])]


def _good(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok"]


def _ends(subject: Subject, then: Sequence[Record], now: Sequence[Record]) -> list[Finding]:
    """What the statuses say, whatever was measured."""
    bad = [record for record in now if record.status != "ok"]
    if not _good(then):
        return [Finding(subject, Verdict.not_compared, f"in the reference it {_ended(then)}")]
    if len(bad) == len(now):
        return [Finding(subject, Verdict.regressed, f"it {_ended(bad)}, and was ok in the reference")]
    if bad:
        return [Finding(subject, Verdict.undecided, f"{len(bad)} of {len(now)} launches now {_ended(bad)}")]
    return []


def _missing(
    subject: Subject, then: Sequence[Record], strangers: Sequence[tuple[Subject, Sequence[Record]]]
) -> Finding:
    """What to say of a subject that only the reference has, given the records of the same case in other contexts."""
    if not strangers:
        return Finding(subject, Verdict.not_measured)
    other, records = strangers[-1]
    known = distinctions((subject.context, other.context))
    contexts = f"{known[subject.context] or 'unknown'} in the reference, {known[other.context] or 'unknown'} now"
    if _good(then) and not any(_good(found) for _, found in strangers):
        return Finding(subject, Verdict.regressed, f"it {_ended(records)}, and was ok in the reference ({contexts})")
    return Finding(subject, Verdict.not_compared, contexts)


def _new(subject: Subject, now: Sequence[Record]) -> Finding:
    return Finding(subject, Verdict.new, "" if _good(now) else f"it {_ended(now)}")


def _strangers(subject: Subject, side: Side, own: Side) -> list[tuple[Subject, list[Record]]]:
    """The same case on the other side, in contexts that its own side does not have."""
    found = ((other, records) for other, records in side.launches.items() if other not in own.launches)
    return [(other, records) for other, records in found if str(other) == str(subject)]


def _ended(records: Sequence[Record]) -> str:
    last = records[-1]
    reason = last.reason.partition("\n")[0]
    return f"ended as {last.status}{f' ({reason})' if reason else ''}"
