"""``tnbench calibrate``: a table, a file, and refusals before anything is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tnbench.distributed import calibrate as measuring
from tnbench.distributed import timed_ranks
from tnbench.measure.environment import device_model, torch_version, usable_cores
from tnbench.store.calibrations import calibration_of, calibrations

Tnb = Callable[..., Result]
NEEDS_TWO = pytest.mark.skipif(usable_cores() < 2, reason="two ranks want a core each")


@NEEDS_TWO
def test_a_calibration_is_printed_and_kept(tnb: Tnb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_ranks, "FULL", timed_ranks.QUICK)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    done = tnb("calibrate")
    assert done.exit_code == 0, done.stderr
    for text in ("ms of a collective over 2 ranks", "all_reduce", "GFLOP/s forward / backward", "depthwise", "alpha "):
        assert text in done.stdout
    (machine,) = calibrations(tmp_path / "results")
    assert calibration_of(tmp_path / "results", cpu=device_model("cpu"), torch=torch_version()) == machine
    assert "; the newest counts" in done.stdout
    assert (machine.ranks, machine.threads) == (2, 1)
    assert {rate.kind for rate in machine.rates} == {"linear", "conv1x1", "conv", "depthwise"}
    assert {(rate.threads, rate.ranks) for rate in machine.rates} >= {(1, 1), (1, 2)}
    for curve in machine.curves.values():
        assert 0 < curve(1) <= curve(1000) <= curve(10**6)
    median, low, high = machine.measured["intervals"]["all_reduce 2"]
    assert 0 < low <= median <= high


def test_more_ranks_than_cores_are_refused_and_nothing_is_written(tnb: Tnb, tmp_path: Path) -> None:
    done = tnb("calibrate", "--ranks", "2", "--threads", usable_cores())
    assert done.exit_code == 2
    assert f"tnbench: calibrate: got 2 ranks of {usable_cores()} thread" in done.stderr
    assert f"wanted no more in all than the {usable_cores()} usable cores" in done.stderr
    assert "lower --ranks or --threads" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a measurement, a machine that was busy."""
    from tnbench.distributed.machine import Curve, Link, Machine, Rate

    machine = Machine(
        "a machine",
        2,
        1,
        Link(1e-4, 1e-9),
        (Rate("conv", 8, 1, 2, 1e-10, 2e-10),),
        1e-10,
        1e-6,
        curves={"all_reduce": Curve(((2.0, 1e-4), (1024.0, 2e-4)))},
        measured={"started": "2026-01-02T03:04:05.678+00:00", "cpu": "p", "torch": "2", "load": 3.0, "cores": 2},
    )
    monkeypatch.setattr(measuring, "calibrate", lambda ranks, threads, plan: machine)


@pytest.mark.usefixtures("measured_at_once")
def test_a_busy_machine_is_told(tnb: Tnb) -> None:
    done = tnb("calibrate", "--results", "elsewhere")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "a machine; torch 2, 2026-01-02T03:04:05.678+00:00" in lines
    assert "1,024 0.200" in lines
    assert "conv 8 10 / 5" in lines
    assert "the machine was busy before (load 3.0 on 2 cores); run this again when it is idle" in lines
    (kept,) = (line for line in lines if line.startswith("kept as elsewhere/calibrations/20260102T030405.678-"))
    assert kept.endswith("; it counts where no calibration of the idle machine is")


@pytest.mark.usefixtures("measured_at_once")
def test_a_quick_calibration_is_printed_and_not_kept(tnb: Tnb, tmp_path: Path) -> None:
    done = tnb("calibrate", "--quick")
    assert "not kept: what --quick measures is too little to predict by" in done.stdout
    assert "1,024" in done.stdout
    (found,) = json.loads(tnb("calibrate", "--quick", "--json").stdout)
    assert found["name"] == "a machine"
    assert calibrations(tmp_path / "results") == []


@pytest.mark.usefixtures("measured_at_once")
def test_json_has_all_numbers(tnb: Tnb) -> None:
    (found,) = json.loads(tnb("calibrate", "--json").stdout)
    assert found["summary"] == "a machine"
    assert found["link"] == {"alpha_s": 1e-4, "beta_s": 1e-9}
    assert found["curves"] == {"all_reduce": [[2.0, 1e-4], [1024.0, 2e-4]]}
