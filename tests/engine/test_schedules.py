"""Learning rates over a training."""

from __future__ import annotations

import pytest

from tnbench.core.settings import SCHEDULES
from tnbench.engine.schedule import RATES


def rates(name: str, steps: int) -> list[float]:
    return [RATES[name](step, steps, 0.1) for step in range(steps)]


def test_each_schedule_that_settings_name_is_there() -> None:
    assert tuple(RATES) == SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_rates_are_between_nothing_and_the_peak(name: str, steps: int) -> None:
    assert all(0 < rate <= 0.1 for rate in rates(name, steps))


def test_a_cosine_falls_from_the_peak_to_nothing() -> None:
    found = rates("cosine", 1000)
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(0.1, rel=1e-3)
    assert found[-1] < 1e-6
    assert found[499] == pytest.approx(0.05, rel=1e-2)


def test_steps_drop_to_a_tenth_after_half_and_to_a_hundredth_after_three_quarters() -> None:
    assert rates("step", 8) == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


def test_constant_is_constant() -> None:
    assert rates("constant", 5) == [0.1] * 5
