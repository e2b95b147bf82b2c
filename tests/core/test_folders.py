"""The results folder: by default, by the environment, and by name for processes to come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tnbench.core.folders import RESULTS_VARIABLE, name_results_folder, results_folder


def test_the_environment_names_another_results_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULTS_VARIABLE, "")
    assert results_folder() == Path("results")
    monkeypatch.setenv(RESULTS_VARIABLE, "elsewhere")
    assert results_folder() == Path("elsewhere")


def test_a_folder_named_here_holds_in_processes_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULTS_VARIABLE, "elsewhere")
    assert name_results_folder(Path("here")) == Path("here") == results_folder()
    ask = "from tnbench.core.folders import results_folder; print(results_folder())"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout == "here\n"
