"""A machine's numbers: curves, rates between measured ones, and plain JSON."""

from __future__ import annotations

import json

import pytest
from synthetic_machine import machine

from tnbench.distributed.machine import Curve, Link, Machine, Rate, rising


def test_a_curve_is_linear_between_its_points_and_goes_on_beyond_them() -> None:
    curve = Curve(((10, 1.0), (20, 2.0), (40, 6.0)))
    assert [curve(words) for words in (1, 10, 15, 30, 60)] == [1.0, 1.0, 1.5, 4.0, 10.0]


def test_a_curve_of_one_point_is_in_proportion_beyond_it() -> None:
    assert [Curve(((10, 1.0),))(words) for words in (5, 20)] == [1.0, 2.0]


@pytest.mark.parametrize("points", [(), ((2, 1.0), (1, 2.0)), ((1, 1.0), (1, 2.0))])
def test_a_curve_wants_rising_words(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="wanted one or more at rising words"):
        Curve(points)


def test_a_slow_small_call_gets_the_seconds_of_a_fast_larger_one() -> None:
    assert rising([(4, 3.0), (1, 9.0), (2, 2.0)]).points == ((1, 2.0), (2, 2.0), (4, 3.0))


def rate(channels: int, threads: int, ranks: int, forward_s: float) -> Rate:
    return Rate("conv", channels, threads, ranks, forward_s, 2 * forward_s)


def test_rates_lie_between_measured_channels_on_a_logarithmic_scale() -> None:
    found = machine(rates=(rate(4, 1, 1, 3.0), rate(16, 1, 1, 1.0)))
    assert found.rate("conv", 8, 1, 1) == pytest.approx((2.0, 4.0))
    assert found.rate("conv", 2, 1, 1) == (3.0, 6.0)
    assert found.rate("conv", 999, 1, 1) == (1.0, 2.0)


def test_rates_are_those_of_the_nearest_threads_then_ranks() -> None:
    found = machine(rates=(rate(8, 1, 1, 8.0), rate(8, 1, 2, 9.0), rate(8, 2, 1, 5.0)))
    assert found.rate("conv", 8, 1, 2)[0] == 9.0
    assert found.rate("conv", 8, 1, 64)[0] == 9.0
    assert found.rate("conv", 8, 2, 1)[0] == 5.0
    assert found.rate("conv", 8, 4, 1)[0] == 2.5  # two threads were measured, four are taken to halve that


def test_a_kind_without_rates_is_told() -> None:
    with pytest.raises(ValueError, match="got no rate for 'linear', wanted one; run tnbench calibrate again"):
        machine(rates=(rate(8, 1, 1, 8.0),)).rate("linear", 8, 1, 1)


@pytest.mark.parametrize(("step", "together"), [(1, 8), (2, 4), (3, 2), (8, 1), (64, 1)])
def test_of_groups_that_are_apart_fewer_ranks_are_in_a_node(step: int, together: int) -> None:
    there = machine(per_node=8, between=Link(1e-5, 1e-9))
    assert there.every(step).per_node == together
    assert machine().every(step) == machine()  # all ranks are in one node


def test_a_machine_survives_json() -> None:
    whole = machine(
        curves={"all_reduce": Curve(((2.0, 1e-4), (8.0, 2e-4)))},
        between=Link(1e-5, 1e-9),
        per_node=8,
        overlaps=True,
        measured={"cpu": "a processor", "cores": 2},
    )
    for each in (machine(), whole):
        assert Machine.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="got schema 99, wanted 1"):
        Machine.from_json(machine().to_json() | {"schema": 99})
