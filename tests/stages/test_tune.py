"""The learning rate is chosen on validation pictures, alike for every method, and never by the test pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.stages import tune as tuning
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case
from tnbench.stages.prepare import Prepared, prepare
from tnbench.stages.tools import CaseTools
from tnbench.stages.tune import SPREAD, factors, tune

SETTINGS = Settings(device="cpu", epochs=1, baseline_epochs=1, limit_train=200, tune=3)


def job_of(case: str, results: Path = Path("nowhere"), baseline: Baseline | None = None, **changed: Any) -> Job:
    settings, parsed = SETTINGS.changed(changed), Case.parse(case)
    return Job(parsed, record_key(parsed, settings), settings, Limits(), Path("nowhere"), results, baseline=baseline)


def scratch(**changed: Any) -> Prepared:
    return prepare(job_of("svd/x4/lenet8/digits/scratch/single#0", **changed))


class Seen:
    """Stands in for a training: it notes what it was given, and `correct` says how good it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, correct: list[int | None]) -> None:
        self.cases: list[Prepared] = []
        self.correct = iter(correct)
        monkeypatch.setattr(tuning, "run_training", self.run)
        monkeypatch.setattr(tuning, "count_right", lambda prepared, model: next(self.correct))

    def run(self, tools: CaseTools) -> None:
        self.cases.append(tools.prepared)
        tools.fits.append(None)  # type: ignore[arg-type]


def test_factors_begin_with_the_settings_own_and_stay_within_the_spread() -> None:
    drawn = factors(200, seed=1)
    assert drawn[0] == 1
    assert 1 / SPREAD < min(drawn) < 0.3
    assert 3 < max(drawn) < SPREAD
    assert factors(3, seed=1) == drawn[:3] != factors(3, seed=2)


def test_the_best_on_validation_pictures_is_taken_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Seen(monkeypatch, [3, 9, 9])
    prepared = scratch()
    found = tune(prepared)
    chosen = factors(3, seed=0)[1]
    assert found.prepared.job.settings.baseline_lr == pytest.approx(chosen * SETTINGS.baseline_lr)
    assert found.prepared.pictures is prepared.pictures
    assert found.facts["tuning"]["chosen"] == chosen
    assert [trial["top1"] for trial in found.facts["tuning"]["trials"]] == [15, 45, 45]
    assert found.facts["tuning"]["validation"]["pictures"] == 20
    assert found.metrics["tune_s"] == sum(trial["seconds"] for trial in found.facts["tuning"]["trials"])
    assert found.notes == [f"learning rates times {chosen:.3g}, the best of 3 on 20 validation pictures"]


def test_trials_see_training_pictures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, [1, 1, 1])
    prepared = scratch(curve=True)
    tune(prepared)
    own = {bytes(picture.numpy().tobytes()) for picture in prepared.pictures.train}
    for case in seen.cases:
        train, validation = case.pictures.train, case.pictures.test
        assert (len(train), len(validation)) == (180, 20)
        together = torch.cat([train, validation])
        assert {bytes(picture.numpy().tobytes()) for picture in together} == own
        assert not case.job.settings.curve
    assert [case.job.settings.lr for case in seen.cases] == [0.02 * factor for factor in factors(3, 0)]
    assert len({case.job.key for case in seen.cases}) == 3


def test_every_method_has_the_same_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    for case in ("svd/x4/lenet8/digits/scratch/single#0", "dense/full/lenet8/digits/scratch/single#0"):
        seen = Seen(monkeypatch, [1, 1, 1])
        tune(prepare(job_of(case)))
        rates.append([(each.job.settings.lr, each.job.settings.baseline_lr) for each in seen.cases])
    assert rates[0] == rates[1]


def test_a_trial_that_diverges_loses_and_all_of_them_diverge_together(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, [5])
    run, calls = seen.run, iter([True, False, True, True, True, True])

    def diverges(tools: CaseTools) -> None:
        run(tools)
        if next(calls):
            raise Diverged("too fast")

    monkeypatch.setattr(tuning, "run_training", diverges)
    found = tune(scratch())
    assert [trial["top1"] for trial in found.facts["tuning"]["trials"]] == [None, 25, None]
    with pytest.raises(Diverged, match="all 3 trainings of tune diverged"):
        tune(scratch())


def test_made_up_labels_cannot_tune() -> None:
    job = job_of("svd/x4/lenet8/synthetic[classes=10,shape=1x8x8]/scratch/single#0")
    with pytest.raises(NotApplicable, match="tune chooses by accuracy"):
        tune(prepare(job))


def test_without_tune_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, prepared = Seen(monkeypatch, []), scratch(tune=0)
    assert tune(prepared).prepared is prepared
    assert seen.cases == []


def test_a_whole_case_records_its_budget_and_keeps_it_out_of_the_training(tmp_path: Path) -> None:
    case = "svd/x4/lenet8/digits/finetune/single#0"
    baseline = run_baseline(job_of(case, tmp_path))
    record = run_case(job_of(case, tmp_path, baseline, tune=2))
    chosen = record.provenance["tuning"]["chosen"]
    plain = run_case(job_of(case, tmp_path, baseline, tune=0, lr=0.02 * chosen, baseline_lr=0.1 * chosen))
    assert record.samples["loss"] == plain.samples["loss"]
    assert record.metrics["top1"] == plain.metrics["top1"]
    assert len(record.provenance["tuning"]["trials"]) == 2
    assert record.metrics["tune_s"] > 0
    assert len(record.samples["epoch_s"]) == 1
    assert record.settings["tune"] == 2
    assert record.settings["lr"] == 0.02


def test_a_training_that_has_no_epochs_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, [])
    found = tune(prepare(job_of("svd/x4/lenet8/digits/bn/single#0")))
    assert found.notes == ["nothing is trained here, so no learning rate was tuned"]
    assert seen.cases == []


def test_a_case_that_trains_nothing_is_not_tuned(tmp_path: Path) -> None:
    case = "svd/x4/lenet8/digits/none/single#0"
    record = run_case(job_of(case, tmp_path, run_baseline(job_of(case, tmp_path)), tune=2))
    assert "nothing is trained here, so no learning rate was tuned" in record.notes
    assert "tune_s" not in record.metrics


def test_the_baseline_is_the_untuned_one() -> None:
    assert "tune" not in SETTINGS.of_baseline()
    assert dataclasses.replace(SETTINGS, tune=0).of_baseline() == SETTINGS.of_baseline()
