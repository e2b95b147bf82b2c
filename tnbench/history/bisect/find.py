"""The commit that changed a number, and the commit that broke a case."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.metrics import Metric
from tnbench.history.bisect.search import Answer, Ends, Say, first_bad
from tnbench.history.bisect.side_by_side import (
    EndedBadly,
    Measure,
    Refused,
    SideBySide,
    Unmeasured,
    check_launches,
    side_by_side,
    told_apart,
)
from tnbench.reporting.formatting import counted, times

ENOUGH = 0.5
"""The share of the whole change from which on a commit has it: of a ratio its square root, else the half."""

_BROKEN = "; the commit that broke the case is found with --metric status"


@dataclass(frozen=True)
class Quantity:
    """A metric, what gives its number in one launch of the code in a folder, and how many launches a commit gets.

    `measure` raises Unmeasured where there is no number. Making one raises UsageError for a number of launches that
    tells nothing.
    """

    metric: Metric
    measure: Callable[[Path], float]
    launches: int

    def __post_init__(self) -> None:
        check_launches(self.launches)


class Found(NamedTuple):
    """The first commit with another number, and launches of its parent and of it side by side."""

    commit: str
    launches: SideBySide


def find_change(ends: Ends, quantity: Quantity, say: Say) -> Found:
    """The commit at which the number passes the middle between both ends, whichever of them is the better one.

    A commit is measured in alternation with the good one. What git names is measured again beside its parent, as one
    wrong turn would have led elsewhere. A number that repeats exactly is measured once at each commit.

    Raises TnbenchError when an end cannot be measured, the ends cannot be told apart, what was found is not seen beside
    its parent (or has none), or only skipped commits are left.
    """
    repository = ends.repository
    with repository.worktree(ends.good) as good:
        name = f"the good commit {repository.in_short(ends.good)}"
        before = _surely(quantity, good, name)
        with repository.worktree(ends.bad) as bad:
            after = _surely(quantity, bad, f"the bad commit {repository.in_short(ends.bad)}", _BROKEN)
            whole = told_apart(before, after, quantity.launches)
        say(f"from end to end: {in_words(whole, quantity.metric)}")
        if whole.equal:
            raise TnbenchError(_nothing_to_bisect(whole, quantity.metric))
        if whole.exact:
            quantity = _once(quantity, ends, whole)
            before = _surely(quantity, good, name)
        say(_outlook(ends, quantity))
        first = first_bad(ends, partial(_judge, quantity, before, whole), say)
    if not repository.knows(f"{first}^"):
        raise TnbenchError(
            f"the search led to {repository.in_short(first)}, the root of a history that was merged; it has no parent "
            f"to be compared with"
        )
    return Found(first, _beside_parent(repository.resolve(f"{first}^"), first, ends, quantity, whole))


def find_break(ends: Ends, why_broken: Callable[[Path], str], say: Say) -> str:
    """The first commit at which a case does not end ok; `why_broken` says why of the code in a folder, or nothing.

    Raises TnbenchError when it is broken at the good end already, or ends ok at the bad one too.
    """
    worktree, in_short = ends.repository.worktree, ends.repository.in_short
    with worktree(ends.good) as tree:
        if why := why_broken(tree):
            raise TnbenchError(f"it is broken at the good commit {in_short(ends.good)} already: {why}")
    with worktree(ends.bad) as tree:
        why = why_broken(tree)
    if not why:
        raise TnbenchError(f"nothing to bisect: it ends ok at the bad commit {in_short(ends.bad)} too")
    say(f"from end to end: ok -> {why}")
    return first_bad(ends, lambda tree: _state(why_broken(tree)), say)


def in_words(launches: SideBySide, metric: Metric) -> str:
    """Such as ``decompose_s 0.0123 s -> 0.0246 s (2.01×, the median of 4 pairs)``."""
    before, after = (_number(median(side), launches, metric) for side in (launches.before, launches.after))
    moved = times(math.exp(launches.change)) if launches.in_ratios else f"{launches.change:+.4g}"
    count = "" if launches.exact else f", the median of {len(launches.before)} pairs"
    return f"{metric.name} {before} -> {after} ({moved}{count})"


def _judge(quantity: Quantity, before: Measure, whole: SideBySide, tree: Path) -> Answer:
    """Good or bad by the share of the whole change that a commit has; a commit without a number is skipped."""
    try:
        launches = side_by_side(before, partial(quantity.measure, tree), quantity.launches)
    except Unmeasured as error:
        return Answer("skip", str(error))
    return Answer("bad" if launches.share_of(whole) >= ENOUGH else "good", in_words(launches, quantity.metric))


def _once(quantity: Quantity, ends: Ends, whole: SideBySide) -> Quantity:
    """The same, but each commit is measured once, and the ends no more."""
    known = {ends.good: whole.before[0], ends.bad: whole.after[0]}

    def measure(tree: Path) -> float:
        commit = ends.repository.git("rev-parse", "HEAD", at=tree)
        if commit not in known:
            known[commit] = quantity.measure(tree)
        return known[commit]

    return replace(quantity, measure=measure, launches=1)


def _state(why_broken: str) -> Answer:
    return Answer("bad", why_broken) if why_broken else Answer("good", "ok")


def _beside_parent(parent: str, first: str, ends: Ends, quantity: Quantity, whole: SideBySide) -> SideBySide:
    """The commit beside its parent. Raises TnbenchError when it makes no difference there, or the opposite one."""
    name, worktree = ends.repository.in_short(first), ends.repository.worktree
    with worktree(parent) as old, worktree(first) as new:
        before = _surely(quantity, old, f"the search led to {name}, whose parent {parent[:8]}")
        after = _surely(quantity, new, f"the search led to {name}, which")
        launches = told_apart(before, after, quantity.launches)
    if launches.equal or launches.change * whole.change < 0:
        raise TnbenchError(
            f"nothing to bisect that is told from chance: the search led to {name}, but beside its parent that makes "
            f"no such change: {_samples(launches, quantity.metric)}; try a less busy machine, or more --launches"
        )
    return launches


def _surely(quantity: Quantity, tree: Path, name: str, hint: str = "") -> Measure:
    """Launches of a commit that has to have a number: none is an error that says which commit, and why.

    Where the case ended badly, the `hint` follows.
    """

    def launch() -> float:
        try:
            return quantity.measure(tree)
        except Unmeasured as error:
            kind = UsageError if isinstance(error, Refused) else TnbenchError
            more = hint if isinstance(error, EndedBadly) else ""
            raise kind(f"{name} gives no {quantity.metric.name}: {error}{more}") from None

    return launch


def _outlook(ends: Ends, quantity: Quantity) -> str:
    count = int(ends.repository.git("rev-list", "--count", f"{ends.good}..{ends.bad}"))
    each = "1 launch" if quantity.launches == 1 else f"{2 * quantity.launches} launches"
    return f"{counted(count, 'commit')} to search: about {math.ceil(math.log2(count))} steps of {each}"


def _nothing_to_bisect(whole: SideBySide, metric: Metric) -> str:
    if whole.exact:
        return f"nothing to bisect: {metric.name} is {_number(whole.after[0], whole, metric)} at both ends"
    return (
        f"nothing to bisect: chance alone may make the ends so different: {_samples(whole, metric)}; "
        f"a small change takes more --launches"
    )


def _samples(launches: SideBySide, metric: Metric) -> str:
    before, after = (", ".join(f"{value:.4g}" for value in side) for side in (launches.before, launches.after))
    return f"{in_words(launches, metric)}; before: {before}; after: {after}"


def _number(value: float, launches: SideBySide, metric: Metric) -> str:
    digits = 10 if launches.exact else 4
    return f"{value:.{digits}g}{'' if metric.unit == '1' else f' {metric.unit}'}"
