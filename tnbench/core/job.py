"""What a worker is asked to do: plain data that crosses to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.settings import Limits, Settings


@dataclass(frozen=True)
class Job:
    """One case to run, or the baseline of `case` to train.

    `baseline` is the dense network to start from, where the training needs one and it is there already.
    `results` is the folder of records and checkpoints. `resumes` says whether trainings go on from where an earlier
    run of the same case was killed.
    """

    case: Case
    key: str
    settings: Settings
    limits: Limits
    data_root: Path
    results: Path
    plugin_files: tuple[Path, ...] = ()
    baseline: Baseline | None = None
    attempt: int = 1
    resumes: bool = True
