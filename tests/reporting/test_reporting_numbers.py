from reporting_factory import measured, sweep

from tnbench.reporting.classes import MOST, make_classes
from tnbench.reporting.numbers import make_numbers
from tnbench.reporting.pareto import make_fronts
from tnbench.reporting.points import make_points
from tnbench.reporting.render import render_page
from tnbench.reporting.rows import make_rows

TAIL = "cnn8/digits/finetune/single#0"


def points_of(records):
    return make_points(make_rows(records))


def numbers_of(records):
    points = points_of(records)
    return make_numbers(points, make_fronts(points))


def heads(records):
    return [column.head for column in numbers_of(records).columns]


def two(**more):
    return [
        measured(f"dense/full/{TAIL}", top1=99.0),
        measured(f"tt/x4/{TAIL}", top1=97.0, compression=4, latency=0.5, **more),
    ]


def test_only_columns_in_which_the_points_differ_are_shown():
    found = heads(two())
    assert {"top-1 %", "drop", "ECE", "NLL", "compression", "latency ms"} <= set(found)
    assert not {"top-5 %", "waiting %", "energy J", "s to dense − 1"} & set(found)
    assert "energy J" in heads(two(metrics={"train_energy_j": 30.0}))
    assert heads([measured(f"tt/x4/{TAIL}", top1=97.0)]) == []


def test_headings_stand_above_their_columns():
    found = numbers_of(two())
    assert sum(width for _, width in found.groups) == len(found.columns)
    assert [group for group, _ in found.groups] == ["accuracy", "cost", "training"]
    assert all(len(cells) == len(found.columns) for _, cells in found.lines)


def test_members_of_a_front_are_marked_under_its_cost():
    small_but_slow = measured(f"cp/x8/{TAIL}", top1=96.0, compression=8, latency=2.0)
    found = numbers_of([*two(), small_but_slow])
    marks = {
        column.head: [cells[place] for _, cells in found.lines]
        for place, column in enumerate(found.columns)
        if column.group == "on the front of"
    }
    assert [point.method for point, _ in found.lines] == ["dense", "cp", "tt"]
    assert marks == {"latency": ["✓", "", "✓"], "throughput": ["✓", "", "✓"]}  # by params and MACs all three are


def test_equal_training_time_is_said_in_the_heading():
    records = two()
    for record, seconds in zip(records, (1.0, 2.0), strict=True):
        record.samples.update({"epoch_s": [seconds] * 3, "top1_curve": [90.0, 95.0, record.metrics["top1"]]})
    found = numbers_of(records)
    place = [column.head for column in found.columns].index("top-1 % after 3.00 s")
    assert [cells[place] for _, cells in found.lines] == ["99.00", "90.00"]


def test_classes_are_compared_with_the_dense_network():
    dense, other = two()
    dense.samples["top1_by_class"], other.samples["top1_by_class"] = [90.0, 80.0, None], [95.0, 60.0, None]
    found = make_classes(points_of([dense, other]))
    assert (found.shown, found.there) == ([0, 1, 2], 3)
    assert found.lines[1][1] == [(95.0, -5.0), (60.0, 20.0), (None, None)]


def test_of_many_classes_those_that_lose_most_are_shown():
    dense, other = two()
    dense.samples["top1_by_class"] = [90.0] * 100
    other.samples["top1_by_class"] = [90.0 - (number % 50) for number in range(100)]
    found = make_classes(points_of([dense, other]))
    assert len(found.shown) == MOST
    assert found.shown == [*range(44, 50), *range(94, 100)]
    alone = make_classes(points_of([other]))
    assert alone.shown == found.shown


def test_records_without_classes_have_no_table():
    record = measured(f"tt/x4/{TAIL}")
    assert make_classes(points_of([record])) is None
    assert "class by class" not in render_page([record], name="old", summary="")


def test_the_page_has_the_numbers_the_classes_and_the_fronts():
    text = render_page(sweep(seeds=2, ranks=(2, 4)), name="quick", summary="")
    assert '<th scope="colgroup" colspan="4" class="group">on the front of</th>' in text
    assert "Accuracy class by class" in text
    assert "background: rgb(168 38 27 /" in text
