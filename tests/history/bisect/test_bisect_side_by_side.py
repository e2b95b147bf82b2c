"""Launches of two commits in alternation, and what they say together."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest

from tnbench.core.errors import UsageError
from tnbench.history.bisect.side_by_side import Measure, SideBySide, check_launches, side_by_side, told_apart


class Launches:
    """Two commits that give their numbers one by one, and the order in which they were asked."""

    def __init__(self, before: Iterator[float], after: Iterator[float]) -> None:
        self.order = ""
        self._numbers = {"b": before, "a": after}

    def of(self, which: str) -> Measure:
        def launch() -> float:
            self.order += which
            return next(self._numbers[which])

        return launch


def noisy(centre: float, seed: int, noise: float = 0.1) -> Iterator[float]:
    generator = random.Random(seed)
    while True:
        yield centre * generator.lognormvariate(0, noise)


def test_each_commit_comes_first_in_turn() -> None:
    launches = Launches(iter([1.0, 2.0, 3.0, 4.0]), iter([5.0, 6.0, 7.0, 8.0]))
    found = side_by_side(launches.of("b"), launches.of("a"), 4)
    assert launches.order == "abbaabba"
    assert found == SideBySide((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))


def test_numbers_that_repeat_exactly_are_enough_after_two_pairs() -> None:
    launches = Launches(iter([1.0, 1.0]), iter([5.0, 5.0]))
    assert side_by_side(launches.of("b"), launches.of("a"), 4) == SideBySide((1.0,), (5.0,))
    only_one_side = Launches(iter([1.0] * 4), iter([5.0, 6.0, 5.0, 6.0]))
    assert len(side_by_side(only_one_side.of("b"), only_one_side.of("a"), 4).before) == 4


def test_a_change_in_pairs_is_free_of_the_machines_drift() -> None:
    drifting = SideBySide((1.0, 10.0, 100.0, 1000.0), (2.0, 20.0, 200.0, 2000.0))
    assert drifting.change == pytest.approx(math.log(2))


def test_numbers_that_are_not_all_above_zero_are_compared_by_differences() -> None:
    assert SideBySide((0.0, 1.0, 0.0, 1.0), (4.0, 5.0, 4.0, 5.0)).change == 4.0
    assert SideBySide((-1.0,), (1.0,)).change == 2.0


def test_the_share_of_a_ratio_is_counted_in_factors() -> None:
    whole = SideBySide((1.0,), (4.0,))
    assert [SideBySide((1.0,), (value,)).share_of(whole) for value in (1.0, 2.0, 4.0, 0.25)] == [0, 0.5, 1, -1]
    assert SideBySide((1.0,), (0.0,)).share_of(whole) == -math.inf
    falling = SideBySide((4.0,), (1.0,))
    assert SideBySide((4.0,), (2.0,)).share_of(falling) == 0.5


def test_the_share_of_a_difference_is_counted_in_the_metrics_unit() -> None:
    whole = SideBySide((0.0,), (4.0,))
    assert [SideBySide((0.0,), (value,)).share_of(whole) for value in (0.0, 1.0, 4.0, -4.0)] == [0, 0.25, 1, -1]
    assert SideBySide((2.0,), (4.0,)).share_of(whole) == 0.5, "by differences too, as the whole is"


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        ((1.0,), (1.0,), True),
        ((1.0,), (1.0000001,), False),
        ((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0), False),
        ((1.0, 2.0, 3.0, 5.5), (5.0, 6.0, 7.0, 8.0), True),
        ((1.0, 1.0, 1.0, 2.0), (1.0, 1.0, 1.0, 1.0), True),
    ],
)
def test_what_chance_may_do(before: tuple[float, ...], after: tuple[float, ...], equal: bool) -> None:
    assert SideBySide(before, after).equal is equal
    assert SideBySide(after, before).equal is equal


@pytest.mark.parametrize(("factor", "least", "most"), [(1.0, 0.0, 0.02), (2.0, 0.95, 1.0)])
def test_how_often_chance_gets_past_both_guards_and_how_often_a_factor_does(
    factor: float, least: float, most: float
) -> None:
    """The noise is half of the factor's logarithm, as on a machine that others keep busy."""
    trials, noise = 500, math.log(2) / 2

    def ratio(seed: int) -> float:
        """The change that is told; 0 for none."""
        launches = Launches(noisy(1, seed, noise), noisy(factor, seed + 10**6, noise))
        found = told_apart(launches.of("b"), launches.of("a"), 4)
        return 0.0 if found.equal else found.change

    both = [(ratio(2 * seed), ratio(2 * seed + 1)) for seed in range(trials)]
    ends, told = sum(end != 0 for end, _ in both) / trials, sum(end * again > 0 for end, again in both) / trials
    print(
        f"\na factor of {factor:g}: the ends are told apart in {ends:.1%}, and the commit found as well in {told:.1%}"
    )
    assert least <= told <= most


def test_launches_go_on_only_while_chance_may_explain_them() -> None:
    clear = Launches(noisy(1, 0), noisy(2, 1))
    told_apart(clear.of("b"), clear.of("a"), 4)
    assert len(clear.order) == 2 * 4
    equal = Launches(noisy(1, 0), noisy(1, 1))
    assert told_apart(equal.of("b"), equal.of("a"), 4).equal
    assert len(equal.order) == 3 * 2 * 4
    disturbed = Launches(iter([1.0, 1.1, 9.0, 1.2, 1.3, 1.4, 1.5, 1.6]), noisy(2, 2, 0.01))
    assert not told_apart(disturbed.of("b"), disturbed.of("a"), 4).equal
    assert len(disturbed.order) == 2 * 2 * 4


def test_exact_numbers_are_never_launched_again() -> None:
    launches = Launches(iter([1.0] * 2), iter([1.0] * 2))
    assert told_apart(launches.of("b"), launches.of("a"), 4).equal
    once = Launches(iter([1.0]), iter([2.0]))
    assert told_apart(once.of("b"), once.of("a"), 1) == SideBySide((1.0,), (2.0,))


def test_numbers_of_launches() -> None:
    for enough in (1, 4, 20):
        check_launches(enough)
    for refused in (-1, 0, 2, 3):
        with pytest.raises(UsageError, match=f"got {refused}, wanted 4 or more"):
            check_launches(refused)
