"""Whether metrics went beyond their tolerances by more than chance, judged for all comparisons of a check together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tnbench.core.case import Case
from tnbench.core.metrics import Metric
from tnbench.core.record import Record
from tnbench.history.gate.findings import Change, Finding, Verdict
from tnbench.history.gate.tolerance import Tolerance
from tnbench.history.launches import Subject
from tnbench.measure.statistics import CONFIDENCE, LEAST_SAMPLES, Excess, change_of_medians, excess, holm

RESAMPLES = 20_000


@dataclass(frozen=True)
class Comparison:
    """One metric of one subject: a number for each launch of either side, or for each seed where only that matters."""

    subject: Subject
    tolerance: Tolerance
    then: list[float]
    now: list[float]

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.then), len(self.now)

    @property
    def exact(self) -> bool:
        """Whether one launch is enough: the metric is counted, and did come out the same in every launch of a side."""
        return self.tolerance.metric.varies == "never" and len(set(self.then)) == len(set(self.now)) == 1

    def found(self, verdict: Verdict, reason: str = "", change: Change | None = None) -> Finding:
        """What to say of it."""
        return Finding(self.subject, verdict, reason, self.tolerance, change)


def compare(subject: Subject, tolerance: Tolerance, then: Sequence[Record], now: Sequence[Record]) -> Comparison:
    """A metric of the good records of both sides."""
    return Comparison(subject, tolerance, _values(then, tolerance.metric), _values(now, tolerance.metric))


def decide(comparisons: Sequence[Comparison]) -> list[Finding]:
    """A finding for each, in their order. Those that chance has a part in share one error rate, of about 5 %."""
    settled = [_settled(comparison) for comparison in comparisons]
    measured = [comparison for comparison, found in zip(comparisons, settled, strict=True) if found is None]
    # enough that the least p there is stays below 0.05 when it is adjusted: a gate that cannot fail is none
    resamples = max(RESAMPLES, 40 * len(measured))
    excesses = [_excess(comparison, resamples) for comparison in measured]
    adjusted = holm([found.p for found in excesses])
    judged = iter([_judged(*each) for each in zip(measured, excesses, adjusted, strict=True)])
    return [found or next(judged) for found in settled]


def _values(records: Sequence[Record], metric: Metric) -> list[float]:
    """One number for each launch; of what is computed, which another launch only repeats, one for each seed."""
    found: dict[int, list[float]] = defaultdict(list)
    for launch, record in enumerate(records):
        if metric.name in record.metrics:
            replicate = Case.parse(record.case).seed if metric.varies == "seed" else launch
            found[replicate].append(record.metrics[metric.name])
    return [median(values) for values in found.values()]


def _settled(comparison: Comparison) -> Finding | None:
    """The finding, where it needs no test or none is possible."""
    tolerance = comparison.tolerance
    if not comparison.now:
        return comparison.found(Verdict.not_measured)
    if not comparison.then:
        return comparison.found(Verdict.new)
    if tolerance.relative and min(comparison.then) <= 0:
        reason = f"the reference has {tolerance.metric.name} = {min(comparison.then):g}; give a tolerance without %"
        return comparison.found(Verdict.undecided, reason)
    if comparison.exact:
        [then], [now] = set(comparison.then), set(comparison.now)
        change = change_of_medians([now], [then], relative=tolerance.relative)
        verdict = Verdict.regressed if tolerance.beyond(change) else Verdict.passed
        return comparison.found(verdict, change=Change(then, now, change, comparison.counts))
    if min(comparison.counts) < LEAST_SAMPLES:
        return comparison.found(Verdict.undecided, _too_few(comparison))
    return None


def _too_few(comparison: Comparison) -> str:
    then, now = comparison.counts
    what = "seeds" if comparison.tolerance.metric.varies == "seed" else "launches"
    return f"{what}: {then} in the reference and {now} now, {LEAST_SAMPLES} of each wanted"


def _excess(comparison: Comparison, resamples: int) -> Excess:
    tolerance = comparison.tolerance
    return excess(
        comparison.now,
        comparison.then,
        tolerance.limit,
        rising=tolerance.rising,
        relative=tolerance.relative,
        resamples=resamples,
    )


def _judged(comparison: Comparison, found: Excess, p: float) -> Finding:
    medians = median(comparison.then), median(comparison.now)
    change = Change(*medians, found.change, comparison.counts, found.bound, p)
    if p <= 1 - CONFIDENCE:
        return comparison.found(Verdict.regressed, change=change)
    chance = "beyond, but may be chance among so many tests" if comparison.tolerance.beyond(found.bound) else ""
    return comparison.found(Verdict.passed, chance, change)
