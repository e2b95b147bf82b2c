"""One-cycle learning rates as a function of the step (Smith and Topin, Super-convergence, arXiv:1708.07120)."""

from __future__ import annotations

import math

WARM_UP = 0.3
"""Share of all steps over which the rate rises."""

START = 1 / 25
"""First rate over the peak."""


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    It rises in a straight line from peak/25 to the peak over the first 30 % of the steps and falls along half a
    cosine to zero, taken at the middle of each step, so that no step is wasted on a rate of zero.

    >>> [round(one_cycle(step, 5, 0.1), 3) for step in range(5)]
    [0.036, 0.1, 0.081, 0.039, 0.005]
    """
    done = (step + 0.5) / steps
    if done < WARM_UP:
        return peak * (START + (1 - START) * done / WARM_UP)
    return peak * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
