import pytest
from reporting_factory import measured

from tnbench.reporting.learning import after, equal_time, learning_curve
from tnbench.reporting.rows import make_rows

TAIL = "cnn8/digits/finetune/single#0"
SCRATCH = "cnn8/digits/scratch/single#0"


def curved(case, curve, *, seconds=2.0, baseline=None, **more):
    samples = {"top1_curve": curve, "epoch_s": [seconds] * len(curve)}
    metrics = {} if baseline is None else {"top1_baseline": baseline}
    return measured(case, top1=curve[-1], samples=samples, metrics=metrics, **more)


def times(*records):
    return [row["time_to_acc_s"] for row in make_rows(records)]


def test_time_runs_until_the_first_epoch_within_a_point_of_the_baseline():
    assert times(curved(f"tt/x4/{TAIL}", [90.0, 98.4, 98.5, 98.0], baseline=99.5)) == [6.0]
    assert times(curved(f"tt/x4/{TAIL}", [90.0, 98.4], baseline=99.5)) == [None]


def test_from_scratch_the_dense_case_is_the_mark():
    dense = curved(f"dense/full/{SCRATCH}", [80.0, 95.0, 96.0])
    assert times(dense, curved(f"tt/x4/{SCRATCH}", [94.0, 95.0])) == [4.0, 4.0]
    assert times(curved(f"tt/x4/{SCRATCH}", [94.0, 95.0])) == [None]


def test_without_a_curve_there_is_no_time():
    assert times(measured(f"tt/x4/{TAIL}", top1=99.0, metrics={"top1_baseline": 90.0})) == [None]


def test_accuracy_after_a_time_is_that_of_the_last_epoch_that_had_ended():
    record = curved(f"tt/x4/{TAIL}", [80.0, 90.0, 95.0])
    assert learning_curve(record) == [(2.0, 80.0), (4.0, 90.0), (6.0, 95.0)]
    assert [after(record, seconds) for seconds in (1.9, 2.0, 5.9, 6.0, 99.0)] == [None, 80.0, 90.0, 95.0, 95.0]


def test_equal_time_is_the_longest_that_all_reached():
    fast, slow = curved(f"tt/x4/{TAIL}", [80.0, 90.0]), curved(f"cp/x4/{TAIL}", [80.0, 90.0], seconds=3.0)
    assert equal_time([fast, slow]) == 4.0
    assert equal_time([fast, measured(f"svd/x4/{TAIL}", top1=90.0)]) is None
    assert equal_time([]) is None


def test_the_seconds_of_earlier_fits_count_and_their_accuracy_does_not():
    record = curved(f"tt/x4/{TAIL}", [80.0, 90.0])
    record.samples["phases"] = [["train", 10.0], ["decompose", 1.0], ["train", 4.0], ["train", 0]]
    assert learning_curve(record) == [(12.0, 80.0), (14.0, 90.0)]
    assert after(record, 11.9) is None


def test_a_curve_that_joins_those_of_several_fits_is_none():
    record = curved(f"tt/x4/{TAIL}", [99.0, 80.0, 90.0])
    record.samples["phases"] = [["train", 2.0], ["decompose", 1.0], ["train", 4.0]]
    assert learning_curve(record) == []


def test_a_curve_that_does_not_fit_its_epochs_is_none():
    record = curved(f"tt/x4/{TAIL}", [80.0, 90.0])
    record.samples["epoch_s"] = [1.0]
    assert learning_curve(record) == []


@pytest.mark.parametrize(("train", "gap"), [(99.0, 2.0), (96.0, -1.0)])
def test_the_generalisation_gap_is_in_points(train, gap):
    (row,) = make_rows([measured(f"tt/x4/{TAIL}", top1=97.0, metrics={"top1_train": train})])
    assert row["generalisation_gap"] == pytest.approx(gap)


def test_an_older_record_has_no_gap():
    record = measured(f"tt/x4/{TAIL}", top1=97.0)
    del record.metrics["top1_train"]
    assert make_rows([record])[0]["generalisation_gap"] is None
