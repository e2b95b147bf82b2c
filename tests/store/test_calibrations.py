"""Calibrations: what was written is read, the newest counts, and a damaged file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnbench.core.errors import TnbenchError
from tnbench.distributed.machine import Curve, Link, Machine, Rate
from tnbench.store.calibrations import busy, calibration_of, calibrations, save_calibration


def taken(second: int, *, ranks: int = 2, cpu: str = "this", load: float = 0.0) -> Machine:
    return Machine(
        "a machine",
        ranks,
        1,
        Link(1e-4, 1e-9),
        (Rate("conv", 8, 1, 1, 1e-10, 2e-10),),
        1e-10,
        1e-6,
        curves={"all_reduce": Curve(((1.0, 1e-4), (10.0, 2e-4)))},
        measured={"started": f"2026-01-01T00:00:{second:02d}.000000+00:00", "cpu": cpu, "torch": "2"}
        | {"load": load, "cores": 2},
    )


def test_what_was_written_is_read_oldest_first(tmp_path: Path) -> None:
    assert calibrations(tmp_path) == []
    paths = [save_calibration(tmp_path, taken(second)) for second in (5, 3)]
    assert len(set(paths)) == 2
    assert all(path.parent == tmp_path / "calibrations" for path in paths)
    assert calibrations(tmp_path) == [taken(3), taken(5)]
    assert [path.name for path in (tmp_path / "calibrations").iterdir() if path.suffix != ".json"] == []


def test_the_newest_of_the_processor_counts_and_of_as_many_ranks_before_others(tmp_path: Path) -> None:
    for machine in (taken(1, ranks=4), taken(2), taken(3), taken(4, cpu="other")):
        save_calibration(tmp_path, machine)
    assert calibration_of(tmp_path, cpu="this", torch="2") == taken(3)
    assert calibration_of(tmp_path, cpu="this", torch="2", ranks=4) == taken(1, ranks=4)
    assert calibration_of(tmp_path, cpu="this", torch="2", ranks=8) == taken(3)
    assert calibration_of(tmp_path, cpu="other", torch="2") == taken(4, cpu="other")
    assert calibration_of(tmp_path, cpu="this", torch="3") is None


def test_one_of_a_busy_machine_counts_only_where_there_is_no_other(tmp_path: Path) -> None:
    save_calibration(tmp_path, taken(3, load=1.2))
    found = calibration_of(tmp_path, cpu="this", torch="2")
    assert found == taken(3, load=1.2)
    assert busy(found) == "load 1.2 on 2 cores"
    save_calibration(tmp_path, taken(1, ranks=4, load=1.0))
    found = calibration_of(tmp_path, cpu="this", torch="2", ranks=2)
    assert found == taken(1, ranks=4, load=1.0)
    assert busy(found) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text[:-9],
            "wanted what 'tnbench calibrate' writes; move the file away, or remove it and run that",
        ),
        (lambda text: text.replace('"alpha_s"', '"alpha"'), "unexpected keyword argument 'alpha'"),
        (lambda text: text.replace('"schema": 1', '"schema": 2'), "got schema 2, wanted 1"),
        (lambda text: text.replace('"link"', '"links"'), "no 'link'"),
        (lambda text: text.replace('"started"', '"began"'), "it does not say when it was measured"),
        (lambda text: "[]", "wanted what 'tnbench calibrate' writes"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, change, message: str) -> None:
    path = save_calibration(tmp_path, taken(1))
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(TnbenchError, match=f"calibration {path}: .*{message}"):
        calibrations(tmp_path)
