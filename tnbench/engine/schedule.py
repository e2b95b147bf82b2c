"""Learning rates as functions of the step: one cycle, half a cosine, two drops, or always the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

WARM_UP = 0.3
"""Share of all steps over which the rate of one cycle rises."""

START = 1 / 25
"""First rate of one cycle over the peak."""

DROPS = (0.5, 0.75)
"""Shares of all steps after which the rate of ``step`` is a tenth of what it was."""


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    It rises in a straight line from peak/25 to the peak over the first 30 % of the steps and falls along half a
    cosine to zero, taken at the middle of each step, so that no step is wasted on a rate of zero
    (Smith and Topin, Super-convergence, arXiv:1708.07120).

    >>> [round(one_cycle(step, 5, 0.1), 3) for step in range(5)]
    [0.036, 0.1, 0.081, 0.039, 0.005]
    """
    done = (step + 0.5) / steps
    if done < WARM_UP:
        return peak * (START + (1 - START) * done / WARM_UP)
    return peak * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def cosine(step: int, steps: int, peak: float) -> float:
    """Half a cosine from the peak to zero, taken at the middle of each step (Loshchilov and Hutter, arXiv:1608.03983).

    >>> [round(cosine(step, 4, 0.1), 3) for step in range(4)]
    [0.096, 0.069, 0.031, 0.004]
    """
    return peak * (1 + math.cos(math.pi * (step + 0.5) / steps)) / 2


def drops(step: int, steps: int, peak: float) -> float:
    """A tenth of it after half of the steps, a hundredth after three quarters (He et al. 2015, arXiv:1512.03385).

    >>> [round(drops(step, 4, 0.1), 4) for step in range(4)]
    [0.1, 0.1, 0.01, 0.001]
    """
    return peak * float(0.1 ** sum(step >= share * steps for share in DROPS))


def constant(step: int, steps: int, peak: float) -> float:
    """The peak at every step."""
    return peak


RATES: Mapping[str, Callable[[int, int, float], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "step": drops,
    "constant": constant,
}
"""By the names that the setting `schedule` takes."""
