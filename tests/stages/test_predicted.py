"""Predictions in records: there where a calibration speaks of the case, and else the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.distributed.machine import LAYERS, Link, Machine, Rate
from tnbench.stages.measure import Measured
from tnbench.stages.predicted import predict
from tnbench.stages.prepare import prepare
from tnbench.store.calibrations import save_calibration

FACTS = {"cpu": "a processor", "versions": {"torch": "2"}}
TIMED = Measured({"processes": 2, "threads": 1})


def calibrated(results: Path, load: float = 0.0) -> None:
    rates = tuple(Rate(kind, 8, 1, 2, 1e-9, 1e-9) for kind in LAYERS)
    started = "2026-01-01T00:00:00.0+00:00"
    measured = {"started": started, "cpu": "a processor", "torch": "2", "load": load, "cores": 2}
    save_calibration(results, Machine("m", 2, 1, Link(1e-4, 1e-9), rates, 1e-9, 1e-6, measured=measured))


def predicted(results: Path, parallel: str = "ddp:2", **changes: Any) -> tuple[dict[str, float], list[str]]:
    """What is predicted of a dense network, and the notes."""
    case = Case.parse(f"dense/full/cnn8/digits/none/{parallel}#0")
    settings = Settings(device="cpu", limit_train=64, **changes)
    prepared, notes = prepare(Job(case, record_key(case, settings), settings, Limits(), Path("nowhere"), results)), []
    return predict(prepared, prepared.build(), TIMED, FACTS, notes.append).metrics, notes


def test_as_calibrated_there_are_numbers_and_no_note(tmp_path: Path) -> None:
    assert predicted(tmp_path) == ({}, [])
    calibrated(tmp_path)
    found, notes = predicted(tmp_path, momentum=0.5, clip=1.0)
    assert found["predicted_step_ms"] > found["predicted_comm_ms"] > 0
    assert found["predicted_words_step"] > 0
    assert notes == []


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"dtype": "float64"}, "dtype = float64"),
        ({"optimiser": "adamw"}, "optimiser = adamw"),
        ({"amp": True, "channels_last": True}, "amp, channels_last"),
        ({"compile": True}, "compile"),
    ],
)
def test_of_settings_that_no_calibration_knows_nothing_is_predicted(
    tmp_path: Path, changes: dict[str, Any], written: str
) -> None:
    calibrated(tmp_path)
    assert predicted(tmp_path, **changes) == (
        {},
        [
            "no step was predicted: calibrations are of float32 with SGD, and without amp, channels_last and compile, "
            f"and this case has {written}"
        ],
    )


def test_an_option_that_is_not_modelled_is_the_reason(tmp_path: Path) -> None:
    calibrated(tmp_path)
    found, notes = predicted(tmp_path, "ddp[compress=powersgd]:2")
    assert found == {}
    assert notes == ["no step was predicted: the cost model knows nothing of ddp's compress=powersgd; leave it out"]


def test_of_a_way_that_nothing_is_known_of_nothing_is_said(tmp_path: Path) -> None:
    calibrated(tmp_path)
    assert predicted(tmp_path, "dryrun:2") == ({}, [])


def test_a_busy_machines_calibration_is_noted(tmp_path: Path) -> None:
    calibrated(tmp_path, load=1.5)
    found, notes = predicted(tmp_path)
    assert found["predicted_step_ms"] > 0
    assert notes == [
        "the step was predicted by a calibration of a busy machine (load 1.5 on 2 cores), for there is no other"
    ]
