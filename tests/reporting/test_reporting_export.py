import csv
import dataclasses
import io
import json

import pandas as pd
from reporting_factory import measured, record, scaling, sweep, troubled

from tnbench.core.metrics import METRICS
from tnbench.core.settings import Settings
from tnbench.reporting.export import to_csv, to_json
from tnbench.reporting.table import tidy

GOLDEN_HEADER = (
    "method,rank,model,dataset,training,parallel,seed,status,reason,case,key,"
    + "".join(f"set_{field.name}," for field in dataclasses.fields(Settings))
    + "params,params_nonzero,params_dense,params_layers,params_layers_dense,macs,macs_dense,flops,flops_dense,"
    "model_bytes,weight_error,"
    "decompose_s,recalibrate_s,baseline_s,train_s,tune_s,epoch_s,end_to_end_s,step_ms,top1,top5,top1_before,top1_baseline,correct,"
    "test_pictures,"
    "top1_train,ece,test_nll,train_loss,train_pictures_per_s,wait_share,train_energy_j,forward_ms,throughput,"
    "decompose_peak_bytes,train_peak_bytes,forward_peak_bytes,"
    "fixed_step_ms,muted_step_ms,forward_phase_ms,backward_phase_ms,optimiser_phase_ms,core_share,infer_ms,words_step,"
    "words_infer,predicted_step_ms,predicted_comm_ms,predicted_words_step,decompose_alone_s,decompose_spread_s,processes,threads,"
    "compression,compression_layers,budget_gap,mac_reduction,generalisation_gap,time_to_acc_s,drop,"
    "algorithmic_speedup,algorithmic_step_speedup,speedup,efficiency,same_cores_ratio,karp_flatt,infer_speedup,"
    "decompose_speedup,measured_over_predicted,comm_share,"
    "forward_ms_low,forward_ms_high,forward_ms_n,throughput_low,throughput_high,throughput_n,"
    "epoch_s_low,epoch_s_high,epoch_s_n,step_ms_low,step_ms_high,step_ms_n,"
    "fixed_step_ms_low,fixed_step_ms_high,fixed_step_ms_n,muted_step_ms_low,muted_step_ms_high,muted_step_ms_n,"
    "infer_ms_low,infer_ms_high,infer_ms_n,"
    "algorithmic_speedup_low,algorithmic_speedup_high,algorithmic_step_speedup_low,algorithmic_step_speedup_high,"
    "speedup_low,speedup_high,efficiency_low,efficiency_high,same_cores_ratio_low,same_cores_ratio_high,"
    "infer_speedup_low,infer_speedup_high,decompose_speedup_low,decompose_speedup_high,"
    "comm_share_low,comm_share_high,speedup_valid,speedup_note,"
    "device_model,torch,host,started,attempt,oversubscribed,notes,log,command"
)


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_header_and_line_ends():
    assert to_csv([]) == GOLDEN_HEADER + "\r\n"
    assert to_csv(sweep(seeds=1, ranks=(2,))).count("\r\n") == 6


def test_csv_reads_back_with_quotes_commas_and_line_breaks():
    reason = 'got "a", wanted b\nsecond line'
    rows = read(to_csv([record("cp[iters=9,solver=als]/x4/cnn8/digits/none/single#0", status="failed", reason=reason)]))
    assert rows[0]["reason"] == reason
    assert rows[0]["method"] == "cp[iters=9,solver=als]"


def test_missing_values_are_empty_fields_and_nulls():
    records = [record("tt/x4/cnn8/digits/none/single#0", status="skipped", metrics={"top1": float("nan")})]
    assert read(to_csv(records))[0]["top1"] == ""
    assert json.loads(to_json(records))[0]["top1"] is None


def test_both_say_the_same():
    records = [*sweep(seeds=1), *scaling(), *troubled()]
    as_csv, as_json = read(to_csv(records)), json.loads(to_json(records))
    assert len(as_csv) == len(as_json) == len(records)
    assert [float(row["speedup"]) for row in as_csv if row["speedup"]] == [
        row["speedup"] for row in as_json if row["speedup"] is not None
    ]
    assert [row["case"] for row in as_csv] == [row["case"] for row in as_json]


def test_json_is_strict_even_with_odd_numbers():
    records = [measured("tt/x4/cnn8/digits/none/single#0", metrics={"train_loss": float("inf")})]
    assert json.loads(to_json(records), parse_constant=lambda name: 1 / 0)[0]["train_loss"] is None


def test_the_csv_is_the_tidy_table():
    records = [*sweep(seeds=1), *scaling(), *troubled()]
    frame, again = tidy(records), pd.read_csv(io.StringIO(to_csv(records)))
    assert list(again.columns) == list(frame.columns)
    for name in METRICS:
        pd.testing.assert_series_equal(again[name].astype(float), frame[name], rtol=0)
    assert again["params"].dtype == float
    assert "40000," in to_csv(records)


def test_truth_values_read_alike_in_both():
    assert {row["speedup_valid"] for row in read(to_csv(scaling()))} == {"true"}
    assert json.loads(to_json([])) == []
