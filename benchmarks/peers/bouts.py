"""Every contest under pytest-benchmark: one table for each, its two sides timed in turns; see docs/peers.md."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .contest import SIDES, Contest, NotHere, Side
from .outcome import Outcome, hold

if TYPE_CHECKING:  # asv imports this module too, and needs no pytest
    import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Two tests a contest, in one group, by a timer that hands out what was measured in turns."""
    import pytest

    from tnbench.measure.timers import recorded_timer

    from .contests import contests

    arguments = []
    for contest in contests():
        for side in SIDES:
            seconds: list[float] = []
            marks = [
                pytest.mark.benchmark(group=contest.name, timer=recorded_timer(seconds)),
                pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"),  # of a test that skips
            ]
            arguments.append(pytest.param(contest, side, seconds, id=f"{contest.name}-{side}", marks=marks))
    metafunc.parametrize(("contest", "side", "seconds"), arguments)


def test_contest(contest: Contest, side: Side, seconds: list[float], benchmark: Any) -> None:
    import pytest

    outcome = _held(contest)
    if isinstance(outcome, str):
        pytest.skip(outcome)
    seconds.extend(getattr(outcome.rounds, side))
    benchmark.extra_info.update(_facts(outcome))
    benchmark.pedantic(_nothing, rounds=len(seconds))
    assert outcome.verdict != "unfair", "error: got {:.6g}, theirs is {:.6g}".format(*outcome.errors or ())


@cache
def _held(contest: Contest) -> Outcome | str:
    """What came of a contest, held once for both of its tests; or why it was not held."""
    try:
        return hold(contest)
    except NotHere as reason:
        return str(reason)


def _facts(outcome: Outcome) -> dict[str, Any]:
    value, low, high, _ = outcome.ratio
    return {
        "what": outcome.contest.what,
        "ratio": value,
        "ratio_low": low,
        "ratio_high": high,
        "target": outcome.contest.target,
        "verdict": outcome.verdict,
        "errors": outcome.errors,
        "held": outcome.held,
        "note": outcome.note,
    }


def _nothing() -> None:
    """What is called while the timer hands out recorded times."""
