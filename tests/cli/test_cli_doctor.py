from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tnbench.core.baseline import Baseline
from tnbench.store.records import Store

Tnb = Callable[..., Result]


def findings(done: Result) -> list[str]:
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def broken(done: Result) -> list[str]:
    return [line for line in findings(done) if line.startswith("broken")]


def test_a_healthy_machine_is_described_line_by_line(tnb: Tnb, stored: Store) -> None:
    done = tnb("doctor")
    assert broken(done) == []
    assert done.exit_code == 0
    for start in (
        "ok tnbench",
        "ok python 3.",
        "ok torch ",
        "ok processor ",
        "ok gpu ",
        "ok methods ",
        "ok data digits",
    ):
        assert any(line.startswith(start) for line in findings(done)), start
    assert "ok results 3 records, 0 baselines in results" in findings(done)


@pytest.mark.usefixtures("stored")
def test_broken_plugins_damaged_lines_and_lost_checkpoints_are_told(tnb: Tnb, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('"""Mine."""\nKIND = "method"\nimport no_such_module\n')
    store = Store(tmp_path / "results")
    store.append_baseline(Baseline("cnn8", "digits", 0, "key", "ab" * 32, "trained", "data"))
    (tmp_path / "results/segments/torn.jsonl").write_text('{"kind": "rec')
    done = tnb("doctor", "--plugin", "mine.py")
    assert done.exit_code == 1
    plugin, damaged, checkpoint = broken(done)
    assert plugin.startswith("broken methods method 'mine' of ")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in plugin
    assert "torn.jsonl" in damaged
    assert checkpoint.startswith("broken results the checkpoint of cnn8 on digits is missing: results/checkpoints/abab")


def test_a_results_folder_that_is_not_there_is_no_fault(tnb: Tnb, tmp_path: Path) -> None:
    assert tnb("doctor").exit_code == 0
    assert list(tmp_path.iterdir()) == []
