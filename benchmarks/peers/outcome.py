"""Holding a contest, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from .contest import Contest, Errors, Side
from .interleave import Rounds, interleave, threads
from .weigh import Peak, weigh

if TYPE_CHECKING:
    from tnbench.measure.statistics import Estimate

Clock = Literal["wall", "processor"]
Verdict = Literal["met", "missed", "open", "unfair", "no target"]


@dataclass(frozen=True)
class Outcome:
    """What a contest gave."""

    contest: Contest
    rounds: Rounds
    scale: float
    note: str
    peaks: tuple[Peak, Peak] | None = None

    @property
    def ratio(self) -> Estimate:
        """Median of their times ÷ median of ours, times the scale, with a bootstrap interval."""
        from tnbench.measure.statistics import ratio_interval

        return ratio_interval([self.scale * seconds for seconds in self.rounds.theirs], self.rounds.ours)

    @property
    def errors(self) -> tuple[float, float] | None:
        """Our error and theirs where we do worst beside them, over all rounds."""
        if not self.rounds.errors:
            return None
        return _all(self.rounds.errors).worst

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met. Unfair: our error is larger. Open: the interval holds the target."""
        if any(not errors.fair for errors in self.rounds.errors):
            return "unfair"
        if self.contest.target is None:
            return "no target"
        value, low, high, _ = self.ratio
        if low is not None and high is not None and low < self.contest.target <= high:
            return "open"
        return "met" if value >= self.contest.target else "missed"

    @property
    def times(self) -> tuple[float, float]:
        """Medians of ours and of theirs, in seconds."""
        return median(self.rounds.ours), median(self.rounds.theirs)

    @property
    def held(self) -> tuple[float, float] | None:
        """What ours and theirs hold at the peak ÷ the input's bytes, by the measure that the limit is for."""
        if self.peaks is None or self.contest.weights is None:
            return None
        ours, theirs = (getattr(peak, self.contest.weights.measure) / self.contest.weights.unit for peak in self.peaks)
        return ours, theirs


def hold(
    contest: Contest,
    *,
    rounds: int | None = None,
    clock: Clock = "wall",
    weighing: Callable[[Contest, Side], Peak] = weigh,
) -> Outcome:
    """Hold `contest`, in its own number of rounds unless one is given. Raises NotHere with the reason.

    The `processor` clock counts what the processor gave to this process: where others use the machine too, one thread
    is still compared with one thread. With several threads the wall's clock is read whatever is asked for.
    """
    read = time.process_time if clock == "processor" and contest.threads == 1 else time.perf_counter
    with threads(contest.threads):
        duel = contest.ready()
        played = interleave(duel, contest.rounds if rounds is None else rounds, clock=read)
    peaks = None
    if contest.weights is not None:
        peaks = weighing(contest, "ours"), weighing(contest, "theirs")
    return Outcome(contest, played, duel.scale, duel.note, peaks)


def _all(errors: list[Errors]) -> Errors:
    return Errors(
        [error for each in errors for error in each.ours],
        [error for each in errors for error in each.theirs],
        errors[0].slack,
    )
