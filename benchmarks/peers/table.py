"""The outcomes as tables that read well on a terminal and are Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .outcome import Outcome

if TYPE_CHECKING:
    from tnbench.measure.statistics import Estimate

_TIMES = ("contest", "ours", "theirs", "ratio (95 %)", "error, ours", "theirs", "target", "", "chosen")
_PEAKS = ("contest", "ours ÷ input", "theirs ÷ input", "limit", "", "weighed", "ours resident", "theirs resident")


def times_table(outcomes: Sequence[Outcome]) -> str:
    """One row per contest: medians, their ratio with its interval, the errors, the target and whether it is met."""
    return _table(_TIMES, [_times_row(outcome) for outcome in outcomes])


def peaks_table(outcomes: Sequence[Outcome]) -> str:
    """One row per contest that was weighed; empty where none was."""
    rows = [row for outcome in outcomes if (row := _peaks_row(outcome))]
    return _table(_PEAKS, rows) if rows else ""


def _times_row(outcome: Outcome) -> tuple[str, ...]:
    ours, theirs = outcome.times
    errors = outcome.errors or (None, None)
    target = outcome.contest.target
    return (
        outcome.contest.name,
        _seconds(ours),
        _seconds(theirs),
        _ratio(outcome.ratio),
        *("–" if error is None else f"{error:.4g}" for error in errors),
        "–" if target is None else f"≥ {target:g}",
        outcome.verdict,
        outcome.note,
    )


def _peaks_row(outcome: Outcome) -> tuple[str, ...] | None:
    weights, held = outcome.contest.weights, outcome.held
    if weights is None or held is None or outcome.peaks is None:
        return None
    ours, theirs = held
    return (
        outcome.contest.name,
        f"{ours:.2f}",
        f"{theirs:.2f}",
        f"≤ {weights.limit:g}",
        "met" if ours <= weights.limit else "missed",
        weights.measure,
        *(f"{peak.resident / weights.unit:.2f}" for peak in outcome.peaks),
    )


def _ratio(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3g} (n = {ratio.n})"
    return f"{ratio.value:.3g} ({ratio.low:.3g}–{ratio.high:.3g})"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
