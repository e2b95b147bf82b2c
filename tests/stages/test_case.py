"""One case from start to end, on real handwritten digits."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.job import Job
from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.measure.environment import usable_cores
from tnbench.stages import train as train_stage
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case
from tnbench.stages.prepare import numerics
from tnbench.stages.train import recipe_of
from tnbench.store.checkpoints import load_state

SETTINGS = Settings(device="cpu", epochs=1, baseline_epochs=2, limit_train=512)

OVER_RANKS = {
    *("fixed_step_ms", "muted_step_ms", "forward_phase_ms", "backward_phase_ms", "optimiser_phase_ms", "infer_ms"),
    "core_share",
    *("words_step", "words_infer", "predicted_step_ms", "predicted_comm_ms", "predicted_words_step"),
    *("decompose_alone_s", "decompose_spread_s"),
}
"""What only cases on stated threads or several processes have."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def job_of(results: Path, case: str, settings: Settings = SETTINGS, baseline: Baseline | None = None) -> Job:
    parsed = Case.parse(case)
    return Job(parsed, record_key(parsed, settings), settings, Limits(), Path("nowhere"), results, baseline=baseline)


@pytest.fixture(scope="module")
def baseline(results: Path) -> Baseline:
    return run_baseline(job_of(results, "dense/full/cnn8/digits/finetune/single#0"))


@pytest.fixture(scope="module")
def record(results: Path, baseline: Baseline) -> Record:
    return run_case(job_of(results, "tucker2/x4/cnn8/digits/finetune/single#0", baseline=baseline))


def test_a_baseline_is_trained_evaluated_and_stored_by_content(results: Path, baseline: Baseline) -> None:
    assert baseline.metrics["top1"] == 100 * baseline.metrics["correct"] / 360 > 50
    assert baseline.metrics["train_s"] > 0
    assert len(load_state(results, baseline.digest)) > 4
    assert baseline.versions.keys() == {"model", "dataset"}


def test_a_baseline_is_not_evaluated_epoch_by_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[object] = []
    monkeypatch.setattr(train_stage, "Watched", lambda *given: watched.append(given))
    settings = dataclasses.replace(SETTINGS, curve=True, baseline_epochs=0)
    run_baseline(job_of(tmp_path, "dense/full/lenet8/digits/finetune/single#0", settings))
    assert watched == []


def test_the_same_seed_gives_the_same_baseline(tmp_path: Path, baseline: Baseline) -> None:
    again = run_baseline(job_of(tmp_path, "dense/full/cnn8/digits/finetune/single#0"))
    other = run_baseline(job_of(tmp_path, "dense/full/cnn8/digits/finetune/single#1"))
    assert again.digest == baseline.digest != other.digest


def test_a_record_has_every_quantity_with_a_declared_name(record: Record) -> None:
    assert record.status == "ok"
    stored = {name for name, metric in METRICS.items() if not metric.derived}
    # Many classes, a loader that waits, a counter, trainings that do so.
    where_possible = {"top5", "wait_share", "train_energy_j", "tune_s", "recalibrate_s"}
    assert record.metrics.keys() | where_possible | OVER_RANKS == stored
    assert not record.metrics.keys() & OVER_RANKS, "a single process pays for no launch over ranks"
    assert all(math.isfinite(value) for value in record.metrics.values())
    assert json.loads(json.dumps(record.as_json(), allow_nan=False)) == record.as_json()


def test_a_record_agrees_with_itself(record: Record) -> None:
    metrics = record.metrics
    assert metrics["flops"] == 2 * metrics["macs"] < metrics["flops_dense"]
    assert metrics["params"] - metrics["params_layers"] == metrics["params_dense"] - metrics["params_layers_dense"]
    assert metrics["params_layers"] <= metrics["params_layers_dense"] / 4
    assert metrics["end_to_end_s"] == pytest.approx(metrics["baseline_s"] + metrics["decompose_s"] + metrics["train_s"])
    assert metrics["top1"] == 100 * metrics["correct"] / metrics["test_pictures"]
    assert 0 < metrics["weight_error"] < 1
    compressed = [layer for layer in record.layers if layer["ranks"]]
    assert sum(layer["params"] for layer in compressed) == metrics["params_layers"]
    assert {layer["note"] for layer in record.layers if not layer["ranks"]} != {""}
    assert len(record.samples["loss"]) == len(record.samples["epoch_s"]) == 1
    assert len(record.samples["step_ms"]) == 1
    assert min(len(record.samples[name]) for name in ("forward_ms", "throughput")) >= 6


def test_dense_gets_the_same_extra_training_and_loses_nothing(results: Path, baseline: Baseline) -> None:
    dense = run_case(job_of(results, "dense/full/cnn8/digits/finetune/single#0", baseline=baseline))
    assert dense.metrics["params"] == dense.metrics["params_dense"]
    assert dense.metrics["top1_before"] == dense.metrics["top1_baseline"] == baseline.metrics["top1"]
    assert len(dense.samples["loss"]) == 1


def test_none_trains_nothing_and_scratch_needs_no_baseline(results: Path, baseline: Baseline) -> None:
    none = run_case(job_of(results, "svd/x4/cnn8/digits/none/single#0", baseline=baseline))
    assert "train_s" not in none.metrics
    assert none.metrics["end_to_end_s"] == pytest.approx(none.metrics["baseline_s"] + none.metrics["decompose_s"])
    scratch = run_case(job_of(results, "svd/x4/cnn8/digits/scratch/single#0"))
    assert not {"baseline_s", "weight_error"} & scratch.metrics.keys(), "random weights stand for nothing"
    assert scratch.metrics["train_loss"] < math.log(10)


def test_made_up_labels_leave_accuracy_empty(results: Path) -> None:
    settings = dataclasses.replace(SETTINGS, limit_train=256)
    job = job_of(results, "tucker2/x2/resnet8/synthetic[classes=10,shape=3x32x32]/scratch/threads:1#0", settings)
    record = run_case(job)
    assert not {"top1", "top1_before", "correct"} & record.metrics.keys()
    assert record.metrics["step_ms"] > 0
    assert "labels are made up, so accuracy is left empty" in record.notes


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("tucker2/x1000000/cnn8/digits/none/single#0", "can"),
        ("tucker2+dense/x4/cnn8/digits/none/single#0", "dense has no part in a mixture"),
        ("tucker2/x4/cnn8/digits/none+bn/single#0", "bn has no part in another training's epochs"),
        ("tucker2/x4/cnn8/digits/none+distill/single#0", "none has no epochs for another training to take part in"),
        ("dense/full/lenet5/digits/scratch/single#0", "28"),
        ("tucker2/full/cnn8/digits/none/single#0", "full"),
    ],
)
def test_what_makes_no_sense_is_not_applicable(results: Path, baseline: Baseline, case: str, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        run_case(job_of(results, case, baseline=baseline if "cnn8" in case else None))


def test_a_baseline_trained_elsewhere_gives_weights_but_no_times(results: Path, baseline: Baseline) -> None:
    elsewhere = dataclasses.replace(baseline, provenance={**baseline.provenance, "cpu": "another"})
    record = run_case(job_of(results, "svd/x4/cnn8/digits/none/single#0", baseline=elsewhere))
    assert not {"baseline_s", "end_to_end_s"} & record.metrics.keys()
    assert record.notes == [
        "the baseline was trained on another device or with another torch, so end_to_end_s is left empty"
    ]


@pytest.mark.parametrize(("threads", "marked"), [(1, False), (usable_cores() + 1, True)])
def test_more_threads_than_cores_are_marked_without_training_too(
    results: Path, baseline: Baseline, threads: int, marked: bool
) -> None:
    record = run_case(job_of(results, f"svd/x4/cnn8/digits/none/threads:{threads}#0", baseline=baseline))
    assert record.provenance["forward_threads"] == threads
    assert record.provenance["oversubscribed"] is marked


TELL_AT_THE_CLOCK = """
import pickle, sys
import tnbench.stages.decompose as stage
clock = stage.stopwatch
def telling(device):
    print("tensorly" in sys.modules)
    return clock(device)
stage.stopwatch = telling
job = pickle.load(sys.stdin.buffer)
from tnbench.stages.case import run_case
print("tensorly" in sys.modules)
run_case(job)
"""


def test_what_a_solver_imports_is_not_timed(results: Path, baseline: Baseline) -> None:
    case = "svd[solver=tensorly]/x4/cnn8/digits/none/single#0"
    job = dataclasses.replace(job_of(results, case), baseline=baseline)
    command = [sys.executable, "-c", TELL_AT_THE_CLOCK]
    done = subprocess.run(command, input=pickle.dumps(job), capture_output=True, check=True)
    assert done.stdout.split()[:2] == [b"False", b"True"]


def test_each_fit_of_a_case_has_an_order_of_its_own(results: Path) -> None:
    job = job_of(results, "svd/x4/cnn8/digits/iterative/single#3")
    seeds = [recipe_of(job, epochs=1, lr=0.1, number=number).seed for number in (1, 2, 3)]
    assert seeds[0] == 3
    assert len({*seeds, recipe_of(job_of(results, job.case.id[:-1] + "4"), epochs=1, lr=0.1, number=2).seed}) == 4


def test_divergence_is_named_with_its_epoch(results: Path, baseline: Baseline) -> None:
    settings = dataclasses.replace(SETTINGS, lr=1e12)
    with pytest.raises(Diverged, match="epoch 1"):
        run_case(job_of(results, "dense/full/cnn8/digits/finetune/single#0", settings, baseline))


def test_numerics_are_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with numerics(Settings(device="cpu", deterministic=True)):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
