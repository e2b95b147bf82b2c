"""A calibration of this machine, which ``auto`` goes by; its numbers are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnbench.core.folders import RESULTS_VARIABLE
from tnbench.distributed.machine import LAYERS, Link, Machine, Rate
from tnbench.measure.environment import device_model, torch_version
from tnbench.store.calibrations import save_calibration


@pytest.fixture(autouse=True)
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here has a results folder with a calibration."""
    rates = tuple(Rate(kind, 8, 1, 1, 1e-10, 1e-10) for kind in LAYERS)
    taken = {"started": "2026-01-01T00:00:00.0+00:00", "cpu": device_model("cpu"), "torch": torch_version()}
    save_calibration(tmp_path, Machine("made up", 2, 1, Link(1e-4, 1e-9), rates, 1e-10, 1e-6, measured=taken))
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
