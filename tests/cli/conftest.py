"""A command line in an empty folder, and records without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_records import a_record
from typer.testing import CliRunner, Result

from tnbench.cli.app import app
from tnbench.store.records import Store


@pytest.fixture
def tnb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the program with arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("TNBENCH_DATA", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    """A results folder with three records."""
    store = Store(tmp_path / "results")
    store.append(a_record("dense/full/cnn8/digits/none/single#0", params=38_282, top1=99.4))
    store.append(a_record("tucker2/x4/cnn8/digits/none/single#0", params=10_000, top1=97.5, decompose_s=0.1234567))
    store.append(a_record("cp/x4/cnn8/digits/none/single#0", "failed", "it broke"))
    return store
