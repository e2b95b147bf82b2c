"""A rank of a backend that dies in the middle of a step ends the case, and no other rank outlives it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import torch
from torch import nn

from tnbench.core.errors import RankDied
from tnbench.core.protocols import Crew
from tnbench.parallel import fsdp, pipeline
from tnbench.testing.parallel import nothing_left_behind


class Deadly(nn.Module):
    """The identity, until it is called for the third time on rank 1."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.calls = rank, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if (self.rank, self.calls) == (1, 3):
            os.kill(os.getpid(), signal.SIGKILL)
        return x


def step_on(crew: Crew) -> None:
    """Steps without an end."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    wrapped = crew.wrap(model)
    dying = Deadly(crew.rank)
    while True:
        wrapped(dying(torch.ones(4, 4))).sum().backward()


@pytest.mark.parametrize(("plugin", "options"), [(fsdp, fsdp.Options()), (pipeline, pipeline.Options())])
def test_a_killed_rank_ends_the_others(plugin: Any, options: Any) -> None:
    with nothing_left_behind(), pytest.raises(RankDied, match=r"rank 1 of 2 ended by itself \(Signal 9 \(SIGKILL\)"):
        plugin.launch(step_on, 2, options, "cpu", ())
