"""The twelve rules of Hoefler and Belli for parallel measurements, each judged by what the records hold.

T. Hoefler and R. Belli, "Scientific benchmarking of parallel computing systems: twelve ways to tell the masses when
reporting performance results", SC 2015. The rules are in words of our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tnbench.core.record import Record
from tnbench.reporting import formatting
from tnbench.reporting.rows import Row
from tnbench.reporting.scaling import Scaling
from tnbench.reporting.series import TREND, make_series
from tnbench.reporting.times import samples_of

KEPT, NOT_KEPT, NOT_APPLICABLE = "kept", "not kept", "not applicable"
_LEAST_FOR_TAIL, _ALPHA = 20, 0.05
_SETUP = ("host", "os", "python", "versions", "cpu", "cores", "started")


@dataclass(frozen=True)
class Judged:
    """A rule, whether these records keep it, and what that was judged by."""

    number: int
    rule: str
    verdict: str
    by: str


@dataclass(frozen=True)
class Evidence:
    """What the rules are judged by: all rows, and the scalings that are shown."""

    rows: Sequence[Row]
    scalings: Sequence[Scaling]
    not_run: int = 0
    """Cases of the suite that have no row."""

    @property
    def records(self) -> list[Record]:
        return [row.record for scaling in self.scalings for row in scaling.point.ok]

    @property
    def spread(self) -> list[Scaling]:
        """Those with a speedup against another case."""
        return [scaling for scaling in self.scalings if scaling.speedup and not scaling.base and not scaling.note]


Judgement = tuple[str, str]


def make_checklist(rows: Sequence[Row], scalings: Sequence[Scaling], expected: int | None = None) -> list[Judged]:
    """All twelve, in order; none where nothing scales. `expected` is how many cases there are, where that is known."""
    if not scalings:
        return []
    evidence = Evidence(rows, scalings, max(0, (expected or 0) - len(rows)))
    return [Judged(number, rule, *judge(evidence)) for number, (rule, judge) in enumerate(_RULES, 1)]


def _kept(condition: bool, by: str) -> Judgement:
    return (KEPT if condition else NOT_KEPT), by


def _base_case(evidence: Evidence) -> Judgement:
    if not evidence.spread:
        return NOT_APPLICABLE, "no speedup is shown"
    bases = [scaling for scaling in evidence.scalings if scaling.base and scaling.step_ms]
    times = ", ".join(
        f"{scaling.point.label} {formatting.significant(scaling.step_ms.value)} ms"
        for scaling in bases
        if scaling.step_ms
    )
    whole = {scaling.family for scaling in evidence.spread} <= {scaling.family for scaling in bases}
    return _kept(whole, f"step_ms of {bases[0].parallel if bases else 'no base case'}: {times}")


def _subsets(evidence: Evidence) -> Judgement:
    silent = [row for row in evidence.rows if not row.ok and not row.record.reason]
    lost = sum(not row.ok for row in evidence.rows)
    limits = {int(limit) for record in evidence.records if (limit := record.settings.get("limit_train")) is not None}
    said = (
        f"{formatting.counted(lost, 'case')} without a result, {len(silent)} of them without a reason; "
        f"{evidence.not_run} not run; limit_train: "
    )
    return _kept(
        not silent and not evidence.not_run and not limits,
        said + (", ".join(map(str, sorted(limits))) or "all pictures"),
    )


def _means(evidence: Evidence) -> Judgement:
    by = "no arithmetic mean of times or rates: medians of samples, and geometric means of launches' medians"
    return _kept(
        all(row.record.samples.get("step_ms") for scaling in evidence.scalings for row in scaling.point.ok), by
    )


def _ratios(evidence: Evidence) -> Judgement:
    if not evidence.spread:
        return NOT_APPLICABLE, "no ratio is averaged"
    bases = {scaling.family: len(scaling.point.ok) for scaling in evidence.scalings if scaling.base}
    pairs = [(len(scaling.point.ok), bases.get(scaling.family)) for scaling in evidence.spread]
    paired = all(own == of_base for own, of_base in pairs)
    return _kept(
        paired,
        "launches are paired by seed, so the geometric mean of their ratios is the ratio of the geometric means of the "
        f"times, which are shown{'' if paired else '; but some launches have no partner'}",
    )


def _intervals(evidence: Evidence) -> Judgement:
    bare = [scaling for scaling in evidence.scalings if scaling.step_ms and scaling.step_ms.low is None]
    least = min(scaling.step_ms.launches for scaling in evidence.scalings if scaling.step_ms)
    return _kept(
        not bare and least > 1,
        f"95 % intervals of step_ms in {len(evidence.scalings) - len(bare)} of {len(evidence.scalings)} rows, over "
        f"{least} launches at least"
        if least > 1
        else "the interval of a single launch knows nothing of another",
    )


def _normality(evidence: Evidence) -> Judgement:
    """Shapiro and Wilk's test of the logarithms of launches' medians, Bonferroni's correction for their number."""
    from scipy.stats import shapiro

    groups = [found for scaling in evidence.scalings if len(found := _launch_logarithms(scaling)) >= 3]
    groups = [found for found in groups if max(found) > min(found)]
    if not groups:
        return NOT_APPLICABLE, "fewer than three launches: intervals are order statistics and bootstraps within one"
    smallest = min(float(shapiro(found).pvalue) for found in groups)
    return _kept(
        smallest >= _ALPHA / len(groups),
        f"Shapiro-Wilk test of the logarithms of the launches' medians: the smallest of {len(groups)} p-values is "
        f"{smallest:.2g}; {min(map(len, groups))} launches see only gross departures",
    )


def _launch_logarithms(scaling: Scaling) -> list[float]:
    numbers = [row.number("step_ms") for row in scaling.point.ok]
    return [math.log(number) for number in numbers if number]


def _comparisons(evidence: Evidence) -> Judgement:
    if not evidence.spread:
        return NOT_APPLICABLE, "nothing is compared"
    bare = [scaling for scaling in evidence.spread if scaling.speedup and scaling.speedup.low is None]
    undecided = sum(scaling.speedup.undecided for scaling in evidence.spread if scaling.speedup)
    return _kept(
        not bare,
        f"{len(evidence.spread) - len(bare)} of {len(evidence.spread)} speedups have an interval; {undecided} of these "
        f"hold 1 and are said to be perhaps no difference",
    )


def _statistic(evidence: Evidence) -> Judgement:
    """How far the tail is from the median, which a reader who cares for the slowest steps must know."""
    tails = [
        float(np.quantile(samples, 0.95) / np.median(samples))
        for record in evidence.records
        if len(samples := samples_of(record, "step_ms")) >= _LEAST_FOR_TAIL and np.median(samples) > 0
    ]
    if not tails:
        return NOT_KEPT, f"fewer than {_LEAST_FOR_TAIL} steps were timed in a launch: no percentile but the median"
    return KEPT, (
        f"medians, as steps have a long tail: the 95th percentile is {formatting.times(float(np.median(tails)))} the "
        f"median in the middle launch, {formatting.times(max(tails))} in the worst; all samples are recorded"
    )


def _factors(evidence: Evidence) -> Judgement:
    missing = sorted({name for record in evidence.records for name in _SETUP if not record.provenance.get(name)})
    dirty = sum(bool(record.provenance.get("git_dirty")) for record in evidence.records)
    busy = sum(scaling.busy for scaling in evidence.scalings)
    by = "settings, versions, processor, cores, threads, commit and dataset digest of every record"
    told = f"; missing: {', '.join(missing)}" if missing else ""
    told += f"; {dirty} of {len(evidence.records)} records are of uncommitted code" if dirty else ""
    told += (
        f"; others used the machine in {busy} of {len(evidence.scalings)} rows, which nothing documents" if busy else ""
    )
    return _kept(not (missing or dirty or busy), by + told)


def _measurement(evidence: Evidence) -> Judgement:
    whole = [len(record.samples.get("step_ms", [])) == record.metrics.get("processes") for record in evidence.records]
    return _kept(
        all(whole),
        f"samples of every rank in {sum(whole)} of {len(whole)} records; warm-up, synchronisation and the slowest rank "
        f"are in How it was measured",
    )


def _bounds(evidence: Evidence) -> Judgement:
    series = make_series(evidence.scalings)
    if not series:
        return NOT_APPLICABLE, "no speedup is drawn"
    amdahl, modelled = (sum(map(bool, found)) for found in zip(*((s.source, s.modelled) for s in series), strict=True))
    return KEPT, (
        f"the ideal for {len(series)} of {len(series)} series, Amdahl's law for {amdahl}, "
        f"the cost model's prediction for {modelled}"
    )


def _lines(evidence: Evidence) -> Judgement:
    series = make_series(evidence.scalings)
    if not series:
        return NOT_APPLICABLE, "no speedup is drawn"
    lines = sum(one.is_trend for one in series)
    bare = sum(timing.low is None for one in series for cores, timing in one.measured.items() if cores > 1)
    return _kept(
        not bare,
        f"{lines} of {len(series)} series have {TREND} numbers of cores or more, and these alone a line; {bare} points "
        f"without an interval",
    )


_RULES: tuple[tuple[str, Callable[[Evidence], Judgement]], ...] = (
    ("A speedup names its base case and that one's absolute time", _base_case),
    ("A subset of cases or data has a reason", _subsets),
    ("Costs have arithmetic means, rates harmonic ones", _means),
    ("Ratios are not averaged; what they are made of is", _ratios),
    ("What is not deterministic has a confidence interval", _intervals),
    ("Nothing is taken for normally distributed unchecked", _normality),
    ("Comparisons are statistically sound", _comparisons),
    ("The statistic suits the question, percentiles included", _statistic),
    ("All factors, their levels and the set-up are documented", _factors),
    ("Measuring, synchronising and summarising over ranks are told", _measurement),
    ("Upper bounds of performance are shown", _bounds),
    ("Plots show what is needed, and lines only for trends", _lines),
)
