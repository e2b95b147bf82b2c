"""Times of records: their raw samples, and how many times longer one took than another."""

from __future__ import annotations

from tnbench.core.record import Record
from tnbench.measure.statistics import Estimate, median_interval, ratio_interval


def samples_of(record: Record, name: str) -> list[float]:
    """The raw samples behind a timing, of several ranks the slowest one's; empty where only a median was kept."""
    samples = record.samples.get(name, [])
    if samples and isinstance(samples[0], list):
        return [max(call) for call in zip(*samples, strict=False)]
    return [float(value) for value in samples]


def ratio_of_times(name: str, above: Record, below: Record) -> Estimate | None:
    """How many times longer `above` took than `below`: by their samples, else by the medians they store."""
    if above is below:
        return Estimate(1.0, None, None, len(samples_of(above, name))) if time_of(name, above) else None
    samples = samples_of(above, name), samples_of(below, name)
    numerator, denominator = time_of(name, above), time_of(name, below)
    if not (numerator and denominator):
        return None
    return ratio_interval(*samples) if all(samples) else Estimate(numerator / denominator, None, None, 1)


def time_of(name: str, record: Record) -> float | None:
    """The median of a timing; None where the record has none."""
    samples = samples_of(record, name)
    return median_interval(samples).value if samples else record.metrics.get(name)
