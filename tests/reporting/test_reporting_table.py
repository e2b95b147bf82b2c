import json

import pandas as pd
import pytest
from reporting_factory import measured, record, scaling, spread, sweep, troubled

from tnbench.core.metrics import METRICS
from tnbench.measure.statistics import median_interval, ratio_interval
from tnbench.reporting.rows import make_rows
from tnbench.reporting.table import tidy
from tnbench.reporting.times import samples_of

TAIL = "cnn8/digits/finetune/single"


def by_case(records):
    return tidy(records).set_index("case")


def test_no_records_give_an_empty_table_with_every_column():
    frame = tidy([])
    assert len(frame) == 0
    assert set(METRICS) <= set(frame.columns)


def test_every_declared_metric_is_a_float_column():
    frame = tidy(sweep(seeds=1))
    assert all(frame[name].dtype == float for name in METRICS)


def test_ratios_of_counts():
    row = record(
        f"tt/x4/{TAIL}#0",
        metrics={"params": 250, "params_dense": 1000, "params_layers": 100, "params_layers_dense": 800, "macs": 5},
    )
    found = by_case([row]).iloc[0]
    assert (found["compression"], found["compression_layers"]) == (4.0, 8.0)
    assert pd.isna(found["mac_reduction"])


def test_drop_refers_to_dense_of_the_same_seed():
    records = [measured(f"dense/full/{TAIL}#{seed}", top1=top1) for seed, top1 in enumerate((99.0, 98.0))]
    records += [measured(f"tt/x4/{TAIL}#{seed}", top1=97.5, compression=4) for seed in (0, 1)]
    frame = by_case(records)
    assert list(frame["drop"]) == [0.0, 0.0, 1.5, 0.5]


@pytest.mark.parametrize(
    "difference",
    [
        {"settings": {"epochs": 2}},
        {"identity": {"device_model": "Another CPU"}},
        {"identity": {"torch": "2.11.0"}},
        {"identity": {"data": "another split"}},
        {"provenance": {"baseline": {"digest": "c" * 64, "origin": "imported", "source": "r20.th"}}},
        {"provenance": {"identity": {"plugins": {"model": {"name": "cnn8", "version": 2}}}}},
    ],
)
def test_nothing_is_compared_across_contexts(difference):
    dense = measured(f"dense/full/{TAIL}#0", top1=99.0, **difference)
    frame = by_case([dense, measured(f"tt/x4/{TAIL}#0", top1=97.5)])
    assert frame.loc[f"tt/x4/{TAIL}#0", ["drop", "algorithmic_speedup"]].isna().all()
    assert frame.loc[f"dense/full/{TAIL}#0", "drop"] == 0.0


@pytest.mark.parametrize(
    "other", ["cnn8/digits/none/single", "cnn8/digits/finetune/threads:1", "cnn8/mnist/finetune/single"]
)
def test_drop_needs_the_same_training_and_parallel(other):
    frame = by_case([measured(f"dense/full/{other}#0", top1=99.0), measured(f"tt/x4/{TAIL}#0", top1=97.5)])
    assert pd.isna(frame.loc[f"tt/x4/{TAIL}#0", "drop"])


def test_a_dense_network_of_another_training_serves_for_latency():
    dense = measured("dense/full/cnn8/digits/none/single#0", top1=99.0)
    fast = measured(f"tt/x4/{TAIL}#0", top1=97.5, latency=0.5)
    found = by_case([dense, fast]).loc[f"tt/x4/{TAIL}#0"]
    expected = ratio_interval(dense.samples["forward_ms"], fast.samples["forward_ms"])
    assert found["algorithmic_speedup"] == pytest.approx(expected.value)
    assert found["algorithmic_speedup"] == pytest.approx(2.0, rel=0.05)
    assert (found["algorithmic_speedup_low"], found["algorithmic_speedup_high"]) == expected[1:3]


def test_a_failed_dense_case_is_no_reference():
    dense = record(f"dense/full/{TAIL}#0", status="failed", metrics={"top1": 99.0})
    frame = by_case([dense, measured(f"tt/x4/{TAIL}#0", top1=97.5)])
    assert frame["drop"].isna().all()


def test_of_several_dense_records_the_last_counts():
    records = [measured(f"dense/full/{TAIL}#0", top1=top1) for top1 in (90.0, 99.0)]
    assert list(tidy([*records, measured(f"tt/x4/{TAIL}#0", top1=97.5)])["drop"])[-1] == 1.5


def test_a_step_takes_as_long_as_its_slowest_rank():
    row = record("tt/x4/cnn8/digits/finetune/ddp:2#0", samples={"step_ms": [[1.0, 5.0, 2.0], [4.0, 3.0, 2.5]]})
    assert samples_of(row, "step_ms") == [4.0, 5.0, 2.5]
    assert by_case([row]).iloc[0]["step_ms"] == 4.0


def test_speedup_efficiency_and_the_same_cores_by_hand():
    tail = "resnet20/cifar10/finetune"
    one, two, ddp = (
        record(
            f"dense/full/{tail}/{parallel}#0",
            metrics={"processes": processes, "threads": threads},
            samples={"step_ms": steps},
        )
        for parallel, processes, threads, steps in (
            ("threads:1", 1, 1, [[12.0] * 6]),
            ("threads:2", 1, 2, [[6.0] * 6]),
            ("ddp:2", 2, 1, [[8.0] * 6, [7.0] * 6]),
        )
    )
    frame = tidy([one, two, ddp]).set_index("parallel")
    assert list(frame["speedup"]) == [1.0, 2.0, 1.5]
    assert list(frame["efficiency"]) == [1.0, 1.0, 0.75]
    assert frame.loc["ddp:2", "same_cores_ratio"] == 0.75
    assert frame.loc[["threads:1", "threads:2"], "same_cores_ratio"].isna().all()
    assert (frame.loc["ddp:2", "speedup_low"], frame.loc["ddp:2", "speedup_high"]) == (1.5, 1.5)
    assert list(frame["speedup_valid"]) == [True] * 3


def test_a_gpu_is_compared_with_one_gpu_and_shared_by_processes():
    more = {"settings": {"device": "cuda"}, "threads": 8}
    single = spread("dense/full/resnet20/cifar10/finetune/single#0", 10.0, **more)
    ddp = spread("dense/full/resnet20/cifar10/finetune/ddp:4#0", 4.0, processes=4, **more)
    found = tidy([single, ddp]).set_index("parallel").loc["ddp:4"]
    assert found["speedup"] == pytest.approx(2.5, rel=0.05)
    assert found["efficiency"] == found["speedup"] / 4
    assert pd.isna(found["same_cores_ratio"])


def test_more_threads_than_cores_are_no_evidence_of_speed():
    records = scaling()
    ddp = spread(records[2].case, 200.0, processes=2, provenance={"oversubscribed": True})
    frame = by_case([*records[:2], ddp])
    found = frame.loc[ddp.case]
    assert found[["speedup", "efficiency", "same_cores_ratio", "algorithmic_speedup"]].isna().all()
    assert list(frame["speedup_valid"]) == [True, True, False]
    assert "more threads than cores" in found["speedup_note"]
    assert found["step_ms"] == pytest.approx(200.0, rel=0.05)


def test_an_oversubscribed_base_serves_nobody():
    records = scaling()
    base = spread(records[0].case, 240.0, provenance={"oversubscribed": True})
    found = by_case([base, *records[1:3]]).loc[records[2].case]
    assert pd.isna(found["speedup"])
    assert found["speedup_note"] == "nothing to compare with: no valid record of this case with threads:1"
    assert found["same_cores_ratio"] > 0


def test_medians_without_samples_still_compare_but_have_no_interval():
    tail, sizes = "resnet20/cifar10/finetune", {"processes": 1, "threads": 1}
    one = record(f"tt/x4/{tail}/threads:1#0", metrics={**sizes, "step_ms": 9.0})
    two = record(f"tt/x4/{tail}/threads:2#0", metrics={**sizes, "threads": 2, "step_ms": 6.0})
    found = tidy([one, two]).set_index("parallel").loc["threads:2"]
    assert found["speedup"] == 1.5
    assert pd.isna(found["speedup_low"])


def test_timings_have_the_order_statistic_interval_of_their_samples():
    row = measured(f"tt/x4/{TAIL}#0")
    found, expected = by_case([row]).iloc[0], median_interval(samples_of(row, "forward_ms"))
    assert (found["forward_ms"], found["forward_ms_low"], found["forward_ms_high"], found["forward_ms_n"]) == expected


def test_what_is_missing_stays_missing():
    frame = tidy(troubled())
    assert frame[list(METRICS)].isna().all(axis=None)
    assert list(frame["status"]) == [row.status for row in troubled()]


def test_numbers_that_are_not_finite_are_missing():
    values = make_rows([record(f"tt/x4/{TAIL}#0", metrics={"top1": float("nan"), "params": float("inf")})])[0].values
    assert (values["top1"], values["params"]) == (None, None)


def test_settings_provenance_and_unknown_metrics_have_columns():
    row = record(f"tt/x4/{TAIL}#3", settings={"epochs": 7}, metrics={"energy_j": 3.5}, notes=["first", "second"])
    found = by_case([row]).iloc[0]
    assert (found["set_epochs"], found["set_device"], found["energy_j"], found["seed"]) == (7, "cpu", 3.5, 3)
    assert found["notes"] == "first; second"
    assert found["device_model"] == "Ordinary CPU @ 2.0GHz"
    assert found["command"] == f"tnbench run --case 'tt/x4/{TAIL}#3'"


def test_deriving_changes_no_record():
    records = [*sweep(seeds=1), *scaling(), *troubled()]
    before = json.dumps([row.as_json() for row in records])
    tidy(records)
    assert json.dumps([row.as_json() for row in records]) == before
