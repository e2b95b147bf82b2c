import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting_factory import measured

from tnbench.reporting import pareto
from tnbench.reporting.pareto import COSTS, dominates, front, make_fronts
from tnbench.reporting.points import make_points
from tnbench.reporting.rows import make_rows

TAIL = "cnn8/digits/finetune/single#0"
MORE_LESS = ("higher", "lower")


def test_examples_in_docstrings_hold():
    found = doctest.testmod(pareto)
    assert (found.attempted, found.failed) == (2, 0)


@pytest.mark.parametrize(
    ("one", "other", "better", "beats"),
    [
        ((90, 5), (90, 6), MORE_LESS, True),
        ((90, 5), (90, 4), MORE_LESS, False),
        ((90, 5), (90, 5), MORE_LESS, False),
        ((90, 5), (91, 6), MORE_LESS, False),
        ((90, 5), (90, 4), ("higher", "higher"), True),
        ((90, 5), (91, 5), ("lower", "lower"), True),
        ((90, None), (80, 6), MORE_LESS, False),
        ((90, 5), (80, None), MORE_LESS, False),
    ],
)
def test_to_dominate_is_to_be_nowhere_worse_and_somewhere_better(one, other, better, beats):
    assert dominates(one, other, better) is beats


def test_ties_share_a_place_and_a_missing_number_has_none():
    assert front([(90, 5), (90, 5), (90, 6), (89, 5), (95, None), (None, None)], MORE_LESS) == [0, 1]
    assert front([], MORE_LESS) == []


goods = st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 5))] * 2), max_size=12)


@given(goods, st.tuples(*[st.sampled_from(["higher", "lower"])] * 2))
def test_who_is_not_on_the_front_is_beaten_by_somebody_who_is(candidates, better):
    members = front(candidates, better)
    for place, candidate in enumerate(candidates):
        beaten = any(dominates(candidates[member], candidate, better) for member in members)
        assert beaten == (place not in members and None not in candidate)


def fronts_of(records):
    points = make_points(make_rows(records))
    fronts = make_fronts(points)
    return {cost: [point.label for point in fronts.members[cost]] for cost in COSTS}


def test_a_small_network_that_is_slow_is_on_the_front_of_parameters_alone():
    records = [
        measured(f"dense/full/{TAIL}", top1=99.0),
        measured(f"cp/x8/{TAIL}", top1=97.0, compression=8, latency=2.0),
        measured(f"svd/x2/{TAIL}", top1=98.0, compression=2, latency=0.5),
        measured(f"tt/x2/{TAIL}", top1=97.5, compression=2, latency=3.0),
    ]
    assert fronts_of(records) == {
        "params": ["dense", "cp x8", "svd x2"],
        "macs": ["dense", "cp x8", "svd x2"],
        "forward_ms": ["dense", "svd x2"],
        "throughput": ["dense", "svd x2"],
    }


def test_without_accuracy_there_is_no_front():
    assert not any(fronts_of([measured(f"tt/x4/{TAIL}", compression=4)]).values())


def test_seeds_count_by_their_mean():
    tops = {"tt": (99.0, 91.0), "cp": (96.0, 96.0)}
    records = [
        measured(f"{method}/x4/cnn8/digits/finetune/single#{seed}", top1=top1, compression=4)
        for method, found in tops.items()
        for seed, top1 in enumerate(found)
    ]
    assert fronts_of(records)["params"] == ["cp x4"]
