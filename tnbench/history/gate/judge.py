"""The gate: which cases got worse from one side to the other, and which nothing can be said of."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.core.record import BAD_STATUSES, Record
from tnbench.history.gate.findings import Finding, Verdict
from tnbench.history.gate.reference import Side
from tnbench.history.gate.significance import Comparison, compare, decide
from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.launches import Cell
from tnbench.reporting.context import distinctions


def judge(reference: Side, now: Side, tolerances: Sequence[Tolerance]) -> list[Finding]:
    """Hold every cell of one side against its like on the other; what is about whole cells comes first.

    A metric that is measured regressed where its median over at least six launches a side went beyond the tolerance,
    as the bootstrap has it (`tnbench.measure.statistics.excess`), with the error rate of all such tests of the check
    kept at 5 % together (`tnbench.measure.statistics.holm`). What is counted needs one launch. A case that ended well
    in the reference and only badly now regressed whatever its metrics.
    """
    findings: list[Finding] = []
    comparisons: list[Comparison] = []
    for cell, then in reference.launches.items():
        if cell not in now.launches:
            findings.append(_missing(cell, then, _strangers(cell, now, reference)))
            continue
        findings += _ends(cell, then, now.launches[cell])
        good = _good(then), _good(now.launches[cell])
        if all(good):
            comparisons += [compare(cell, tolerance, *good) for tolerance in tolerances]
    for cell in now.launches:
        if cell not in reference.launches and not _strangers(cell, reference, now):
            findings.append(Finding(cell, Verdict.new))
    return [*findings, *decide([each for each in comparisons if any(each.counts)])]


def _good(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok"]


def _ends(cell: Cell, then: Sequence[Record], now: Sequence[Record]) -> list[Finding]:
    """What the statuses say, whatever was measured."""
    bad = [record for record in now if record.status != "ok"]
    if not _good(then):
        return [Finding(cell, Verdict.not_compared, f"in the reference it {_ended(then)}")]
    if len(bad) == len(now):
        return [Finding(cell, Verdict.regressed, f"it {_ended(bad)}, and was ok in the reference")]
    if bad:
        return [Finding(cell, Verdict.undecided, f"{len(bad)} of {len(now)} launches now {_ended(bad)}")]
    return []


def _missing(cell: Cell, then: Sequence[Record], strangers: Sequence[tuple[Cell, Sequence[Record]]]) -> Finding:
    """What to say of a cell that only the reference has, given the records of the same case in other contexts."""
    if not strangers:
        return Finding(cell, Verdict.not_measured)
    other, latest = strangers[-1]
    known = distinctions((cell.context, other.context))
    contexts = f"{known[cell.context] or 'unknown'} in the reference, {known[other.context] or 'unknown'} now"
    if _good(then) and all(record.status in BAD_STATUSES for _, records in strangers for record in records):
        return Finding(cell, Verdict.regressed, f"it {_ended(latest)}, and was ok in the reference ({contexts})")
    return Finding(cell, Verdict.not_compared, contexts)


def _strangers(cell: Cell, side: Side, own: Side) -> list[tuple[Cell, list[Record]]]:
    """The same case on the other side, in contexts that its own side does not have."""
    found = ((other, records) for other, records in side.launches.items() if other not in own.launches)
    return [(other, records) for other, records in found if str(other) == str(cell)]


def _ended(records: Sequence[Record]) -> str:
    last = records[-1]
    reason = last.reason.partition("\n")[0]
    return f"ended as {last.status}{f' ({reason})' if reason else ''}"
