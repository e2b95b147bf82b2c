"""Serial shares: what a speedup tells of one, and what one says of speedups."""

from __future__ import annotations

from collections.abc import Mapping

from tnbench.distributed.bounds import amdahl as amdahl
from tnbench.distributed.bounds import serial_share
from tnbench.measure.statistics import Estimate


def karp_flatt(speedup: float, cores: int) -> float | None:
    """The experimentally determined serial share (1/S - 1/P) / (1 - 1/P); None on one core.

    Rising with P it tells of overheads, steady of serial work (Karp and Flatt, Communications of the ACM 1990). It is
    above 1 where P cores are slower than one.

    >>> karp_flatt(1.6, 2)
    0.25
    """
    return serial_share(speedup, cores) if cores > 1 and speedup > 0 else None


def fitted_serial_share(speedups: Mapping[int, float]) -> float | None:
    """The share that fits speedups by numbers of cores best: 1/S is s + (1 - s)/P, a line in 1 - 1/P through (0, 1/P).

    By least squares of 1/S, held between 0 and 1. None with fewer than three numbers of cores: two determine a share
    whatever happens, and show no trend.
    """
    if len(speedups) < 3:
        return None
    places = {cores: 1 - 1 / cores for cores in speedups}
    square = sum(place * place for place in places.values())
    product = sum(places[cores] * (1 / speedup - 1 / cores) for cores, speedup in speedups.items())
    return min(max(product / square, 0.0), 1.0)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of a number `factor` (above 0) times as large."""
    value, low, high, n = estimate
    return Estimate(factor * value, low and factor * low, high and factor * high, n)
