"""Cases on real handwritten digits that are trained and not measured: what each training does, for little time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from torch import nn

from tnbench.core.baseline import Baseline
from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.measure import memory
from tnbench.stages import tools as tools_stage
from tnbench.stages.baseline import run_baseline
from tnbench.stages.prepare import numerics, prepare
from tnbench.stages.tools import CaseTools
from tnbench.stages.training import needs_baseline, run_training

SETTINGS = Settings(device="cpu", epochs=3, baseline_epochs=3, limit_train=128, batch_size=64)


def job_of(results: Path, case: str, baseline: Baseline | None = None, **settings: object) -> Job:
    parsed, chosen = Case.parse(case), dataclasses.replace(SETTINGS, **settings)
    return Job(parsed, record_key(parsed, chosen), chosen, Limits(), Path("nowhere"), results, baseline=baseline)


def case_of(method: str, training: str, model: str = "cnn8", parallel: str = "single") -> str:
    return f"{method}/{'full' if method == 'dense' else 'x4'}/{model}/digits/{training}/{parallel}#0"


class Digits:
    """Small cases that share one baseline."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.baseline = run_baseline(job_of(results, case_of("dense", "finetune")))

    def run(
        self, method: str, training: str, parallel: str = "single", **settings: object
    ) -> tuple[nn.Module, CaseTools]:
        """The trained network, and what its tools kept. A baseline is there only where one is asked for."""
        job = job_of(self.results, case_of(method, training, parallel=parallel), **settings)
        prepared = prepare(job)
        if needs_baseline(prepared):
            prepared = dataclasses.replace(prepared, job=dataclasses.replace(job, baseline=self.baseline))
        tools = CaseTools(prepared)
        with numerics(job.settings), pytest.MonkeyPatch.context() as patch:
            # What only measures takes longer than these cases do.
            patch.setattr(tools_stage, "diagnose", lambda *given: {})
            patch.setattr(memory, "_give_back_free_memory", lambda: None)
            return run_training(tools), tools

    def dense(self) -> nn.Module:
        """The baseline's network."""
        tools = CaseTools(prepare(job_of(self.results, case_of("dense", "finetune"), self.baseline)))
        return tools.baseline()
