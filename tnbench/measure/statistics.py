"""Statistics of samples: pure functions, computed when records are read and never stored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95
LEAST_SAMPLES = 6
"""Five samples bound the median with 93.75 % at best, six with 96.9 %."""


class Estimate(NamedTuple):
    """A statistic of `n` samples with its interval; `low` and `high` are None where the samples give none."""

    value: float
    low: float | None
    high: float | None
    n: int


class Excess(NamedTuple):
    """How a median changed, the one-sided bound of that change, and `p`: how likely chance alone would show it."""

    change: float
    bound: float
    p: float


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median and an interval between two order statistics that holds it with at least `confidence`.

    The number of samples below the median is binomial(n, 1/2) whatever the distribution is, so the interval
    [x_(j), x_(n+1-j)] misses the median with the probability 2 P(Bin(n, 1/2) < j); j is the largest that keeps this
    within 1 - confidence (David and Nagaraja, Order Statistics, 3rd ed. 2003, section 7.1). At 95 % fewer than six
    samples give no interval.

    >>> median_interval([5, 1, 3, 2, 4, 6])
    Estimate(value=3.5, low=1.0, high=6.0, n=6)

    Raises ValueError without samples.
    """
    ordered = np.sort(_checked(samples))
    n = len(ordered)
    misses = 2 * special.bdtr(np.arange(n // 2), n, 0.5)
    inside = int(np.count_nonzero(misses <= 1 - confidence))
    value = float(np.median(ordered))
    if inside == 0:
        return Estimate(value, None, None, n)
    return Estimate(value, float(ordered[inside - 1]), float(ordered[n - inside]), n)


def mean_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean and Student's t-interval (Student, Biometrika 1908); one sample gives no interval.

    Raises ValueError without samples.
    """
    values = _checked(samples)
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, None, n)
    half = float(special.stdtrit(n - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def ratio_interval(
    numerator: Sequence[float],
    denominator: Sequence[float],
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
) -> Estimate:
    """median(numerator) / median(denominator) with a percentile bootstrap interval.

    Both sides are resampled with replacement and independently (Efron, Annals of Statistics 1979); the same seed
    gives the same interval. `n` is the smaller number of samples; below six a side there is no interval. Samples of
    one run: how much another run would differ, they cannot tell.

    Raises ValueError where a side has no samples or the denominator's median is not above 0.
    """
    above, below = _checked(numerator), _checked(denominator)
    if not np.median(below) > 0:
        raise ValueError(f"got a denominator with the median {np.median(below):g}, wanted one above 0")
    value, n = float(np.median(above) / np.median(below)), min(len(above), len(below))
    if n < LEAST_SAMPLES:
        return Estimate(value, None, None, n)
    generator = np.random.default_rng(seed)
    ratios = _resampled_medians(above, generator, resamples) / _resampled_medians(below, generator, resamples)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high), n)


def excess(
    now: Sequence[float],
    then: Sequence[float],
    tolerance: float,
    *,
    rising: bool = True,
    relative: bool = True,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = 20_000,
) -> Excess:
    """Whether the median went from `then` to `now` beyond `tolerance`: above it, or below it where not `rising`.

    A `relative` change is a share of the median of `then`, another has the samples' unit. Both sides are resampled with
    replacement and independently; `bound` is the near end of the changes' one-sided percentile interval, and
    `p` = (k + 1) / (resamples + 1) with k resamples at or within the tolerance (Davison and Hinkley, Bootstrap Methods
    and their Application, 1997, section 4.2), so that none is below 1 / (resamples + 1).

    Raises ValueError where a side has fewer than six samples, or `then` one that is not above 0 of a relative change.
    """
    after, before = _checked(now), _checked(then)
    if min(len(after), len(before)) < LEAST_SAMPLES:
        raise ValueError(f"got {len(before)} and {len(after)} samples, wanted at least {LEAST_SAMPLES} of each")
    if relative and not np.min(before) > 0:
        raise ValueError(f"got {np.min(before):g} among what a share is taken of, wanted numbers above 0")
    places = _places_of_both(len(after), len(before), resamples, seed)
    after, before = (np.sort(side)[chosen].mean(axis=0) for side, chosen in zip((after, before), places, strict=True))
    changes = (after - before) / (before if relative else 1.0)
    within = changes <= tolerance if rising else changes >= tolerance
    bound = np.quantile(changes, 1 - confidence if rising else confidence)
    p = (np.count_nonzero(within) + 1) / (resamples + 1)
    return Excess(change_of_medians(now, then, relative=relative), float(bound), float(p))


def change_of_medians(now: Sequence[float], then: Sequence[float], *, relative: bool) -> float:
    """How far median(now) is from median(then), as a share of the latter where `relative`."""
    after, before = float(np.median(_checked(now))), float(np.median(_checked(then)))
    return (after - before) / (before if relative else 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in their order: those at most 0.05 hold together with 95 % confidence.

    The i-th smallest of m is multiplied by m + 1 - i, and none is smaller than one before it (Holm, Scandinavian
    Journal of Statistics 1979). It holds however the tests depend on one another.

    >>> holm([0.02, 0.01, 0.5])
    [0.04, 0.03, 0.5]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    adjusted = np.empty_like(values)
    adjusted[order] = steps
    return [float(value) for value in adjusted]


def _resampled_medians(values: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    medians: np.ndarray = np.sort(values)[_middle_places(len(values), generator, resamples)].mean(axis=0)
    return medians


@lru_cache(maxsize=8)
def _places_of_both(after: int, before: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`_middle_places` for two sides; many comparisons of as many samples share them."""
    generator = np.random.default_rng(seed)
    return _middle_places(after, generator, resamples), _middle_places(before, generator, resamples)


def _middle_places(n: int, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Which two of n sorted values are in the middle of `resamples` bootstrap samples; the same twice for an odd n.

    Resampling draws n places uniformly, and the m-th smallest of n uniform numbers is a beta(m, n+1-m) variable (David
    and Nagaraja, section 2.3); given it, the next one splits the rest as beta(1, n-m) does. So they are drawn from
    their exact distribution in no time.
    """
    middle = (n + 1) // 2
    lower = generator.beta(middle, n + 1 - middle, resamples)
    upper = lower if n % 2 else lower + (1 - lower) * generator.beta(1, n - middle, resamples)
    places: np.ndarray = np.minimum((n * np.stack([lower, upper])).astype(int), n - 1)
    return places


def _checked(samples: Sequence[float]) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"got samples of shape {values.shape}, wanted a flat list with at least one number")
    return values
