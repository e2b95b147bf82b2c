"""Statistics of samples: pure functions, computed when records are read and never stored."""

from __future__ import annotations

from collections.abc import Sequence
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


def _resampled_medians(values: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Medians of `resamples` bootstrap samples, drawn from their exact distribution in no time.

    Resampling draws n places uniformly, and the m-th smallest of n uniform numbers is a beta(m, n+1-m) variable (David
    and Nagaraja, section 2.3); given it, the next one splits the rest as beta(1, n-m) does.
    """
    ordered, n = np.sort(values), len(values)
    middle = (n + 1) // 2
    lower = generator.beta(middle, n + 1 - middle, resamples)
    upper = lower if n % 2 else lower + (1 - lower) * generator.beta(1, n - middle, resamples)
    places = np.minimum((n * np.stack([lower, upper])).astype(int), n - 1)
    medians: np.ndarray = ordered[places].mean(axis=0)
    return medians


def _checked(samples: Sequence[float]) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"got samples of shape {values.shape}, wanted a flat list with at least one number")
    return values
