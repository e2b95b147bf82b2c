"""What one process does alone has the threads of the case."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tnbench.core.case import Case
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings
from tnbench.engine import compress
from tnbench.stages import decompose as stage
from tnbench.stages.in_process import in_process
from tnbench.stages.prepare import prepare


@pytest.mark.parametrize(("parallel", "threads"), [("threads:1", 1), ("single", 2), ("ddp:2", 2)])
def test_decompositions_have_the_threads_of_the_case(
    parallel: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(*given: object, **named: object) -> compress.Swapped:
        seen.append(torch.get_num_threads())
        return compress.swap_layers(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "swap_layers", watched)
    case = Case.parse(f"svd/x4/cnn8/digits/none/{parallel}#0")
    prepared = prepare(Job(case, "", Settings(device="cpu"), Limits(), Path("nowhere"), Path("nowhere")))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stage.decompose(prepared, prepared.build())
        assert in_process(prepared, torch.get_num_threads) == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [threads]
