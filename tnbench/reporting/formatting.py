"""Numbers as people read them. A missing number is an en dash everywhere."""

from __future__ import annotations

import math

from markupsafe import Markup

from tnbench.measure.statistics import Estimate
from tnbench.reporting.budget import is_equal
from tnbench.reporting.launches import Timing

MISSING = "–"


def count(value: float | None) -> str:
    """A count with a prefix of size.

    >>> count(431080), count(1_250_000), count(850)
    ('431k', '1.25M', '850')
    """
    if value is None:
        return MISSING
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return significant(value / size) + sign
    return f"{value:.0f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent.

    >>> significant(0.0123), significant(1.2), significant(1234)
    ('0.0123', '1.20', '1234')
    """
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(float(f"{value:.{digits}g}"))))
    return f"{value:.{max(0, digits - 1 - size)}f}"


def times(value: float | None) -> str:
    """A ratio: 3.98×."""
    return MISSING if value is None else f"{significant(value)}×"


def gap(value: float | None, mark: str = "unequal") -> str:
    """Per cent above or below a budget of parameters, and whether that is too far to call them equal.

    >>> gap(-0.42), gap(3.1)
    ('-0.4', '+3.1 unequal')
    """
    if value is None:
        return MISSING
    return f"{value:+.1f}" + ("" if is_equal(value) else f" {mark}")


def points(value: float | None) -> str:
    """Percentage points with their sign: a drop below zero is a gain."""
    return MISSING if value is None else f"{value + 0.0:.2f}"


def plus_minus(estimate: Estimate | None) -> str:
    """A mean with its half-width: 98.61 ± 0.42; the bare mean where there is no interval."""
    if estimate is None:
        return MISSING
    if estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ± {estimate.high - estimate.value:.2f}"


def span(ratio: Timing | None) -> str:
    """A ratio of times with its interval and what that is over.

    >>> span(Timing(1.05, 0.98, 1.12, launches=3)), span(Timing(1.05, 1.04, 1.06, launches=1))
    ('1.05× (0.980 to 1.12, n = 3)', '1.05× (1.04 to 1.06 within one launch)')
    """
    return MISSING if ratio is None else times(ratio.value) + _within(ratio)


def share(percent: Timing | None) -> str:
    """Per cent with their interval and what that is over.

    >>> share(Timing(12.34, 10.0, 15.0, launches=6)), share(Timing(-1.0, None, None, launches=1))
    ('12.3 (10.0 to 15.0, n = 6)', '-1.0')
    """
    if percent is None:
        return MISSING
    if percent.low is None or percent.high is None:
        return f"{percent.value:.1f}"
    scope = " within one launch" if percent.launches == 1 else f", n = {percent.launches}"
    return f"{percent.value:.1f} ({percent.low:.1f} to {percent.high:.1f}{scope})"


def whole(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return MISSING if value is None else f"{value:,.0f}"


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "seed"), counted(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"


def interval(timing: Timing | None) -> str:
    """A time with its interval and what that is over: 240 (238 to 243, n = 3)."""
    return MISSING if timing is None else significant(timing.value) + _within(timing)


def ends(timing: Timing) -> str:
    """An interval's ends alone; empty where there is none."""
    return "" if timing.low is None else f"{significant(timing.low)} to {significant(timing.high)}"


def _within(timing: Timing) -> str:
    scope = " within one launch" if timing.launches == 1 else f", n = {timing.launches}"
    return f" ({ends(timing)}{scope})" if ends(timing) else ""


def breakable(case: str) -> Markup:
    """A case id as HTML that may wrap after each of its parts."""
    return Markup("/<wbr>").join(case.split("/"))
