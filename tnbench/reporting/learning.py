"""How fast networks learn, by accuracy curves: time to an accuracy, accuracy after a time. Neither chooses anything."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice
from math import isclose

from tnbench.core.record import Record

CLOSE = 1.0
"""Points below the dense network's top-1 that count as having reached it."""


def learning_curve(record: Record) -> list[tuple[float, float]]:
    """Seconds of training so far and top-1 in per cent, after each epoch; empty where no curve was recorded.

    Of several fits it is the last one's, and the seconds of those before it count. A record that joined the curves of
    all of them, of which some may be a dense network's, has none here.
    """
    curve, seconds = record.samples.get("top1_curve", []), record.samples.get("epoch_s", [])
    fits = [took for kind, took in record.samples.get("phases", []) if kind == "train" and took]
    joined = len(fits) > 1 and not isclose(sum(seconds), fits[-1])
    if not curve or len(curve) != len(seconds) or joined:
        return []
    return list(zip(islice(accumulate(seconds, initial=sum(fits[:-1])), 1, None), curve, strict=True))


def time_to_accuracy(record: Record, dense: Record | None) -> float | None:
    """Seconds of training after which the top-1 is first within `CLOSE` points of the dense network's.

    The dense network is the baseline that the case started from; from scratch, `dense`: the dense case with the same
    training. None where there is no curve or no such network, and where the accuracy is never reached.
    """
    target = record.metrics.get("top1_baseline", dense.metrics.get("top1") if dense else None)
    if target is None:
        return None
    return next((seconds for seconds, top1 in learning_curve(record) if top1 >= target - CLOSE), None)


def after(record: Record, seconds: float) -> float | None:
    """The top-1 of the last epoch that had ended after so many seconds of training; None before the first."""
    curve = learning_curve(record)
    ended = bisect_right([end for end, _ in curve], seconds)
    return curve[ended - 1][1] if ended else None


def equal_time(records: Sequence[Record]) -> float | None:
    """The largest training time that all of these records reached; None where one has no curve."""
    ends = [curve[-1][0] if (curve := learning_curve(record)) else None for record in records]
    known = [end for end in ends if end is not None]
    return min(known) if known and len(known) == len(ends) else None
