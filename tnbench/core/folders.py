"""Where the results lie, for whoever is not told: a plug-in, say, whose functions are given a device and no folder."""

from __future__ import annotations

import os
from pathlib import Path

RESULTS_VARIABLE = "TNBENCH_RESULTS"
"""Variable that names the results folder; ``--results`` goes before it, and sets it for the program's processes."""


def results_folder() -> Path:
    """The folder that the environment names, or `results`."""
    return Path(os.environ.get(RESULTS_VARIABLE) or "results")


def name_results_folder(folder: Path) -> Path:
    """Let `folder` be the results folder of this process and of those that it starts from now on; return it."""
    os.environ[RESULTS_VARIABLE] = str(folder)
    return folder
