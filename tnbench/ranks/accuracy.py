"""The largest compression that loses at most D points of top-1 on validation pictures, before any fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe, Ranks
from tnbench.ranks._allocate import Ladder, Step, ladder
from tnbench.ranks._scale import Multiples, read_number, wrong

VERSION = 2
PATTERN = ("acc-dD", r"acc-d[-+.0-9].*")
Options = Multiples

EVALUATIONS = 10
"""At most so many networks are evaluated; the threshold is then known to a five-hundredth."""

_WANTED = "acc-d and a number from 0 to 100, such as 'acc-d1.5' for 1.5 percentage points"
_SHARE = 1 / 4


class _Trial(NamedTuple):
    """What one threshold came to."""

    weights: int
    drop: float
    steps: list[Step]


def check(text: str) -> None:
    """Raise UsageError unless 0 <= D <= 100."""
    if not 0 <= read_number(text, "acc-d", _WANTED) <= 100:
        raise wrong(text, _WANTED)


def choose(text: str, options: Multiples, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """Ranks by one threshold: each layer's cheapest whose relative error is at most that; bisection finds it.

    Accuracy need not fall evenly: of all that was evaluated the smallest network that loses at most D is taken.
    Raises NotApplicable, with the nearest value that can be reached, where none does.
    """
    check(text)
    most = float(read_number(text, "acc-d", _WANTED))
    ladders = [ladder(each, probe, each.count, each.dense, _SHARE, options.multiple) for each in candidates]
    trials = _bisect(candidates, ladders, most, probe)
    within = [trial for trial in trials if trial.drop <= most]
    if not within:
        gentlest = min(trials, key=lambda trial: trial.drop, default=None)
        if gentlest is None:
            raise NotApplicable(f"{text}: no ranks of any layer save weights")
        raise NotApplicable(
            f"{text} cannot be reached: the gentlest of {len(trials)} compressions loses {gentlest.drop:.2f} points; "
            f"take acc-d{math.ceil(gentlest.drop * 10) / 10:g}"
        )
    best = min(within, key=lambda trial: trial.weights)
    return [_choice(text, candidate, step) for candidate, step in zip(candidates, best.steps, strict=True)]


def _bisect(candidates: Sequence[Candidate], ladders: Sequence[Ladder], most: float, probe: Probe) -> list[_Trial]:
    """What was evaluated, beginning with the largest threshold; networks that stay dense throughout are left out."""
    low, high = 0.0, math.sqrt(max((steps[0].error for steps in ladders), default=0.0))
    threshold = loosest = high
    trials: dict[tuple[Step, ...], _Trial] = {}
    for _ in range(EVALUATIONS):
        steps = [_cheapest(steps, threshold) for steps in ladders]
        ranks = {each.name: step.ranks for each, step in zip(candidates, steps, strict=True) if step.ranks is not None}
        if ranks and tuple(steps) not in trials:
            trials[tuple(steps)] = _Trial(sum(step.cost for step in steps), probe.drop(ranks), steps)
        if not ranks or trials[tuple(steps)].drop <= most:
            low = threshold
        else:
            high = threshold
        if low == loosest:
            break
        threshold = (low + high) / 2
    return list(trials.values())


def _cheapest(steps: Ladder, threshold: float) -> Step:
    return next(step for step in steps if step.error <= threshold**2)


def _choice(text: str, candidate: Candidate, step: Step) -> Ranks | KeepDense:
    if step.ranks is not None:
        return step.ranks
    return KeepDense(f"no ranks that save weights are as close to {candidate.name!r} as {text} needs")
