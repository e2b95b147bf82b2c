"""What changes while a network is trained, as one rank holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from tnbench.core.protocols import Guide
from tnbench.engine.average import Average
from tnbench.engine.step import Step


@dataclass
class RankFit:
    """What one rank gives back. Times in seconds; `loss` is the mean over all pictures, epoch by epoch, in nats.

    `step_s` leaves the first steps out (`tnbench.engine.loop.WARM_UP_STEPS`). `state` is the trained state dict on the
    CPU on rank 0 and empty on the others. `peak_bytes` is the peak memory above the loop's start, pictures apart.
    `told` is what the guide says at the end. `curve` is the top-1 (%) after each epoch, where test pictures were given,
    on rank 0; `wait_s` what this rank waited for pictures in each epoch. `resumed` says that an earlier run's epochs
    are among them.
    """

    loss: list[float] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    peak_bytes: int = 0
    threads: int = 1
    told: dict[str, Any] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)
    resumed: bool = False


@dataclass
class Progress:
    """A network in training: `done` epochs are behind it, and `run` has what they told."""

    model: nn.Module
    guide: Guide
    take: Step
    average: Average | None
    run: RankFit
    done: int = 0
