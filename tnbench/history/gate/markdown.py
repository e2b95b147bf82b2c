"""The outcome of a check as a short piece of Markdown, for the summary of a CI run."""

from __future__ import annotations

from collections.abc import Sequence

from tnbench.history.gate.findings import Finding, Verdict, unjudged
from tnbench.history.gate.reference import Side
from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.gate.wording import HEADER, counts, labels, remarks, row

_RULE = ("---", "---", "---:", "---:", "---:", "---:", "---:", "---")


def to_markdown(reference: Side, now: Side, tolerances: Sequence[Tolerance], findings: Sequence[Finding]) -> str:
    """A heading with the verdict, a table of what regressed, the counts, and what could not be judged."""
    names = labels(finding.subject for finding in findings)
    regressed = [finding for finding in findings if finding.verdict is Verdict.regressed]
    table = [HEADER, _RULE, *(row(finding, names[finding.subject]) for finding in regressed)] if regressed else []
    rows = [f"| {' | '.join(_plain(cell) for cell in cells)} |" for cells in table]
    clauses = ", ".join(f"`{tolerance}`" for tolerance in tolerances)
    lines = [
        f"### tnbench check: {_verdict(regressed, unjudged(findings, tolerances))}",
        f"{_plain(str(now))} against {_plain(str(reference))}, fails on {clauses}",
        "\n".join(rows),
        counts(findings),
        "\n".join(f"- {_plain(remark)}" for remark in remarks(findings, names)),
    ]
    return "\n\n".join(line for line in lines if line) + "\n\n"


def _verdict(regressed: Sequence[Finding], unheld: Sequence[Tolerance]) -> str:
    if regressed:
        return f"{len(regressed)} regressed"
    return f"nothing to judge {', '.join(map(str, unheld))} by" if unheld else "passed"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|~#" else sign for sign in text)
