"""The training loop that every training shares, as each rank of a case runs it: one-cycle SGD, batch by batch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.protocols import Augmentation, Crew, Guide, Normalisation, Recipe
from tnbench.engine.batches import Batches, batches, batches_per_epoch
from tnbench.engine.evaluate import mode_of
from tnbench.engine.splitmix import key
from tnbench.engine.step import Step, optimiser_for
from tnbench.measure.clock import synchronise
from tnbench.measure.memory import PeakMemory

WARM_UP_STEPS = 10
"""Steps that are not timed: the first ones build buckets, pick kernels and fill caches. At most half of all steps."""

_LAYERS = 1


@dataclass
class RankFit:
    """What one rank gives back. Times in seconds; `loss` is the mean over all pictures, epoch by epoch, in nats.

    `step_s` leaves the first steps out (`WARM_UP_STEPS`). `state` is the trained state dict on the CPU on rank 0 and
    empty on the others. `peak_bytes` is the peak memory above the loop's start, pictures apart. `told` is what the
    guide says at the end.
    """

    loss: list[float] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    peak_bytes: int = 0
    threads: int = 1
    told: dict[str, Any] = field(default_factory=dict)


def fit(
    model: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    *,
    normalisation: Normalisation,
    augmentation: Augmentation,
    recipe: Recipe,
    crew: Crew,
    dtype: torch.dtype,
    guide: Guide | None = None,
) -> RankFit:
    """Train `model` in place on `pictures` (N, C, H, W), uint8, and `labels` (N,). Every rank calls it alike.

    SGD with Nesterov momentum and a one-cycle rate; weight decay on weights only, not on biases and BatchNorm's
    scales (parameters with one dimension). Each epoch takes every picture once, in an order drawn from (seed, epoch),
    in ceil(N / batch_size) global batches whose sizes differ by at most one. The gradient is the mean over the
    global batch, however many ranks share it. The same recipe gives the same bits on the CPU at an equal number of
    threads; torch's global generator neither matters nor moves, and modules get their train or eval mode back.

    `guide` is called at its moments; without one it is plain training.

    Raises Diverged at the first epoch whose loss is not finite, NotApplicable where a batch has fewer pictures than
    there are ranks.
    """
    _check_shares(len(labels), recipe, crew)
    model.to(crew.device, dtype)
    run = RankFit(threads=crew.threads)
    if recipe.epochs:
        data = Batches(pictures.to(crew.device), labels.to(crew.device), normalisation, augmentation, dtype)
        optimiser_for(model, recipe)  # the first of a process imports 150 MB of torch, not to be charged here
        with PeakMemory(crew.device) as peak, mode_of(model, training=True), _own_generator(recipe, crew):
            _train(model, data, recipe, crew, Guide() if guide is None else guide, run)
        run.peak_bytes = peak.bytes
    if crew.rank == 0:
        run.state = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
    return run


def _train(model: nn.Module, data: Batches, recipe: Recipe, crew: Crew, guide: Guide, run: RankFit) -> None:
    guide.begin(model, crew)
    take = _step(model, data, recipe, crew, guide)
    per_epoch = batches_per_epoch(len(data), recipe)
    untimed = min(WARM_UP_STEPS, recipe.epochs * per_epoch // 2)
    for epoch in range(recipe.epochs):
        crew.barrier()
        epoch_start = time.perf_counter()
        if guide.begin_epoch(model, epoch, recipe.epochs):
            take = _step(model, data, recipe, crew, guide)
        total = torch.zeros((), dtype=torch.float64, device=crew.device)
        for number, batch in enumerate(batches(len(data), recipe, epoch), start=epoch * per_epoch):
            start = time.perf_counter()
            total += take(batch, epoch=epoch, number=number)
            synchronise(crew.device)
            if number >= untimed:
                run.step_s.append(time.perf_counter() - start)
        guide.end_epoch(model, epoch)
        run.loss.append(_mean_loss(total, len(data), crew))
        run.epoch_s.append(time.perf_counter() - epoch_start)
        _check_finite(run.loss[-1], epoch, recipe)
    run.told = guide.told()


def _step(model: nn.Module, data: Batches, recipe: Recipe, crew: Crew, guide: Guide) -> Step:
    return Step(model, crew.wrap(model), optimiser_for(model, recipe), data, recipe, crew, guide)


def _mean_loss(total: Tensor, n: int, crew: Crew) -> float:
    if crew.world > 1:
        torch.distributed.all_reduce(total)
    return float(total) / n


def _check_shares(n: int, recipe: Recipe, crew: Crew) -> None:
    smallest = n // batches_per_epoch(n, recipe)
    if smallest < crew.world:
        raise NotApplicable(
            f"a batch of {smallest} pictures cannot be shared by {crew.world} processes; "
            f"raise batch_size ({recipe.batch_size}) or take fewer processes"
        )


def _check_finite(loss: float, epoch: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss is {loss} in epoch {epoch + 1} of {recipe.epochs} at a peak rate of {recipe.lr:g}; "
            f"a lower rate may help (--lr for cases, --baseline-lr for baselines)"
        )


@contextmanager
def _own_generator(recipe: Recipe, crew: Crew) -> Iterator[None]:
    """Layers that draw at random (dropout) draw from (seed, rank); the caller's generator returns unmoved."""
    with torch.random.fork_rng(devices=[crew.device] if crew.device.type == "cuda" else []):
        torch.manual_seed(key(recipe.seed, crew.rank, _LAYERS))
        yield
