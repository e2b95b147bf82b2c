"""What a case that went on from where an earlier run was killed may say of its time and energy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.measure.energy import Energy
from tnbench.stages import tools as tools_stage
from tnbench.stages.baseline import run_baseline
from tnbench.stages.case import run_case
from tnbench.stages.prepare import prepare
from tnbench.stages.resuming import checkpoint_of
from tnbench.stages.train import recipe_of

SETTINGS = Settings(device="cpu", epochs=2, baseline_epochs=1, limit_train=128)


def job_of(results: Path, training: str) -> Job:
    case = Case.parse(f"svd/x4/lenet8/digits/{training}/single#0")
    return Job(case, record_key(case, SETTINGS), SETTINGS, Limits(checkpoint_s=0), Path("nowhere"), results)


class KilledError(Exception):
    """In the place of a signal."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of energy that works."""

    class Counted:
        def __init__(self, devices: list[str]) -> None:
            self.used = Energy(joules=2.0, source="made up")

        def __enter__(self) -> Energy:
            return self.used

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tools_stage, "energy_of", Counted)


def test_energy_is_left_empty_and_the_time_marked(
    tmp_path: Path, counted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, "scratch")
    whole = run_case(job)
    assert whole.metrics["train_energy_j"] == 2.0
    assert "resumed" not in whole.provenance

    def dies(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("tnbench.engine.loop.check_converging", lambda loss, *_, **__: len(loss) < 2 or dies())
        with pytest.raises(KilledError):
            run_case(job)
    resumed = run_case(job)
    assert resumed.samples["loss"] == whole.samples["loss"]
    assert resumed.provenance["resumed"] is True
    assert "train_energy_j" not in resumed.metrics
    assert [note for note in resumed.notes if "energy" in note] == [
        "energy was counted since the training was resumed alone, so train_energy_j is left empty"
    ]


def test_another_teacher_is_another_start(tmp_path: Path) -> None:
    job = job_of(tmp_path, "scratch+distill")
    first = run_baseline(job)
    recipe = recipe_of(job, epochs=2, lr=0.1)
    prepared = [
        prepare(dataclasses.replace(job, baseline=dataclasses.replace(first, digest=digest)))
        for digest in (first.digest, "0" * 64)
    ]
    model = prepared[0].build()
    starts = [checkpoint_of(each, model, recipe, 1).start for each in (*prepared, prepared[0])]
    assert starts[0] == starts[2] != starts[1]
