"""What counts as a regression, as people write it: ``step_ms>5%,top1<-0.5``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tnbench.core.errors import UsageError, unknown
from tnbench.core.metrics import METRICS, Metric

_CLAUSE = re.compile(r"(?P<metric>[^<>]*)(?P<sign>[<>])(?P<amount>[^<>%]*)(?P<percent>%?)\s*")
_FORM = "wanted METRIC>TOLERANCE or METRIC<-TOLERANCE, in quotes, such as 'step_ms>5%,top1<-0.5'"


@dataclass(frozen=True)
class Tolerance:
    """How far a metric's median may go: up to `amount` where `rising`, else down to it.

    `amount` is a number with its sign, of the metric's unit, or in per cent of the reference where `relative`.
    """

    metric: Metric
    rising: bool
    amount: float
    relative: bool

    @property
    def limit(self) -> float:
        """The amount as a change: 0.05 for 5 %."""
        return self.amount / 100 if self.relative else self.amount

    def beyond(self, change: float) -> bool:
        """Whether a change goes further than is tolerated."""
        return change > self.limit if self.rising else change < self.limit

    def __str__(self) -> str:
        return f"{self.metric.name}{'>' if self.rising else '<'}{self.amount:g}{'%' if self.relative else ''}"


def parse_tolerances(text: str) -> tuple[Tolerance, ...]:
    """Read the clauses of ``--fail-on``, separated by commas.

    >>> [str(tolerance) for tolerance in parse_tolerances("step_ms > 5%, top1 < -0.50")]
    ['step_ms>5%', 'top1<-0.5']

    Raises UsageError for what is no clause, names no stored metric, or would fail on getting better.
    """
    found: dict[tuple[str, bool], Tolerance] = {}
    for clause in text.split(","):
        tolerance = _parse(clause.strip())
        side = tolerance.metric.name, tolerance.rising
        if side in found:
            raise UsageError(f"--fail-on: got {found[side]} and {tolerance}, wanted one of them")
        found[side] = tolerance
    return tuple(found.values())


def _parse(clause: str) -> Tolerance:
    match = _CLAUSE.fullmatch(clause)
    if not clause:
        raise UsageError(f"--fail-on: got an empty clause (a comma too many?), {_FORM}")
    if match is None:
        raise UsageError(f"--fail-on: got {clause!r}, {_FORM}")
    metric, rising, relative = _stored(match["metric"].strip()), match["sign"] == ">", bool(match["percent"])
    amount = _number(match["amount"], clause)
    if metric.better == ("higher" if rising else "lower"):
        worse = _signed(metric, not rising, amount, relative)
        raise UsageError(f"--fail-on: got {clause!r}, but {metric.better} {metric.name} is better; wanted {worse}")
    tolerance = _signed(metric, rising, amount, relative)
    if tolerance.amount != amount:
        side = "a rise is written without a sign" if rising else "a fall is written with its sign"
        raise UsageError(f"--fail-on: got {clause!r}, wanted {tolerance}: {side}")
    return tolerance


def _signed(metric: Metric, rising: bool, amount: float, relative: bool) -> Tolerance:
    size = abs(amount)
    return Tolerance(metric, rising, size if rising else 0.0 - size, relative)


def _stored(name: str) -> Metric:
    metric = METRICS.get(name)
    if metric is None:
        stored = [metric.name for metric in METRICS.values() if not metric.derived]
        raise UsageError(f"--fail-on: {unknown('metric', name, stored)}")
    if metric.derived:
        raise UsageError(
            f"--fail-on: {name} is derived ({metric.summary}) and never stored; "
            f"judge what it comes from: {', '.join(metric.sources)}"
        )
    return metric


def _number(text: str, clause: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise UsageError(f"--fail-on: got the tolerance {text.strip()!r} in {clause!r}, {_FORM}")
    return amount
