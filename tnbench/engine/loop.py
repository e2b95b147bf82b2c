"""The training loop that every training shares, as each rank of a case runs it, batch by batch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Augmentation, Crew, Guide, Normalisation, Recipe, Shape, StoredPictures
from tnbench.engine.average import Average
from tnbench.engine.batches import Batches, batches, batches_per_epoch
from tnbench.engine.checkpoint import Checkpoint
from tnbench.engine.divergence import check_converging
from tnbench.engine.evaluate import count_correct, mode_of
from tnbench.engine.optimiser import optimiser_for
from tnbench.engine.precision import lay_out
from tnbench.engine.progress import Progress
from tnbench.engine.progress import RankFit as RankFit
from tnbench.engine.resume import Keeper, stored, take_up
from tnbench.engine.shares import check_shares
from tnbench.engine.splitmix import key
from tnbench.engine.step import Step, step_of
from tnbench.engine.streams import LAYERS
from tnbench.measure.clock import synchronise
from tnbench.measure.memory import PeakMemory

WARM_UP_STEPS = 10
"""Steps that are not timed: the first ones build buckets, pick kernels and fill caches. At most half of all steps."""


class Watched(NamedTuple):
    """Pictures (N, C, H, W), uint8, and labels (N,) to look at after each epoch. Nothing is chosen by them."""

    pictures: Tensor | StoredPictures
    labels: Tensor


def fit(
    model: nn.Module,
    pictures: Tensor | StoredPictures,
    labels: Tensor,
    *,
    normalisation: Normalisation,
    augmentation: Augmentation,
    recipe: Recipe,
    crew: Crew,
    dtype: torch.dtype,
    guide: Guide | None = None,
    kernels: Mapping[str, Shape] | None = None,
    watched: Watched | None = None,
    checkpoint: Checkpoint | None = None,
) -> RankFit:
    """Train `model` in place on `pictures` (N, C, H, W), uint8, and `labels` (N,). Every rank calls it alike.

    By default it is SGD with Nesterov momentum and a one-cycle rate; weight decay on weights only, not on biases and
    BatchNorm's scales (parameters with one dimension). Each epoch takes every picture once, in an order drawn from
    (seed, epoch), in ceil(N / batch_size) global batches whose sizes differ by at most one. The gradient is the mean
    over the global batch, however many ranks share it. The same recipe gives the same bits on the CPU at an equal
    number of threads, also when it was killed and taken up from a `checkpoint`; torch's global generator neither
    matters nor moves, and modules get their train or eval mode back. Where the recipe has a running average of weights,
    that is what `model` has in the end.

    `guide` is called at its moments; without one it is plain training. `kernels` are those of compressed layers
    (`kernel_decay.kernel_sides`), which weight decay may be on. `watched` pictures are evaluated on rank 0 after each
    epoch, off the clock.

    Raises Diverged at the first epoch whose loss is not finite or has exploded, NotApplicable where a batch has fewer
    pictures than it has shares, where weights on a manifold are to be averaged, or where something reads whole weights
    of which each rank has a shard.
    """
    smallest = len(labels) // batches_per_epoch(len(labels), recipe)
    check_shares(smallest, crew.data_world, recipe.batch_size)
    _check_average(guide, recipe)
    if crew.gather is not None:
        _check_sharded(guide, recipe, watched)
    if recipe.compile and (crew.gather is not None or crew.data_world < crew.world):
        raise NotApplicable("compile does not know layers that processes share; leave it out, or take ddp instead")
    model.to(crew.device, dtype)
    run = RankFit(threads=crew.threads)
    if recipe.epochs:
        data = Batches(
            pictures.to(crew.device),
            labels.to(crew.device),
            normalisation,
            augmentation,
            dtype,
            rank=crew.data_rank,
            world=crew.data_world,
        )
        lay_out(model, recipe)
        optimiser_for(model, recipe)  # the first of a process imports 150 MB of torch, not to be charged here
        whole = crew.gather is None and crew.optimiser is None  # else a rank's optimiser has the state of its part only
        checkpoint = checkpoint if whole else None
        given = _Given(data, recipe, crew, kernels or {}, watched, checkpoint)
        earlier = stored(checkpoint, crew) if checkpoint else None
        with PeakMemory(crew.device) as peak, mode_of(model, training=True), _own_generator(recipe, crew):
            _train(_begun(model, guide or Guide(), run, given, earlier), given, peak)
        run.peak_bytes = max(run.peak_bytes, peak.bytes)
    state = whole_state(model, crew)
    if crew.rank == 0:
        run.state = state
    return run


def whole_state(model: nn.Module, crew: Crew) -> dict[str, Tensor]:
    """The state dict of the model as it was before the crew wrapped it, on the CPU. Every rank calls it alike."""
    if crew.gather is not None:
        return crew.gather(model)
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


class _Given(NamedTuple):
    """What stays as it is while a network is trained."""

    data: Batches
    recipe: Recipe
    crew: Crew
    kernels: Mapping[str, Shape]
    watched: Watched | None
    checkpoint: Checkpoint | None


def _begun(model: nn.Module, guide: Guide, run: RankFit, given: _Given, earlier: dict[str, Any] | None) -> Progress:
    """At the first epoch, or after those of an `earlier` run that was killed."""
    recipe, crew = given.recipe, given.crew
    guide.begin(model, crew)
    if earlier is not None:
        guide.resume(model, earlier["ranks"][crew.rank]["guide"])
        model.load_state_dict(earlier["model"])
    take = _step(model, guide, given)
    average = Average(model, recipe.ema) if recipe.ema else None
    progress = Progress(model, guide, take, average, run)
    if earlier is not None:
        take_up(progress, earlier, crew)
        run.resumed = True
        crew.notes.append(
            f"a training was resumed after epoch {progress.done} of {recipe.epochs}, where an earlier run of the case "
            f"was ended; its times are the sums over both runs, without the part of an epoch that was lost"
        )
    return progress


def _train(progress: Progress, given: _Given, peak: PeakMemory) -> None:
    data, recipe, crew = given.data, given.recipe, given.crew
    first, run = progress.done, progress.run
    steps = (recipe.epochs - first) * batches_per_epoch(len(data), recipe)
    untimed = first * batches_per_epoch(len(data), recipe) + min(WARM_UP_STEPS, steps // 2)
    keeper = Keeper(given.checkpoint, crew) if given.checkpoint else None
    for epoch in range(first, recipe.epochs):
        told = _epoch(progress, given, epoch, untimed)
        check_converging(run.loss, told.cross_entropy, progress.take.classes, recipe, settled=told.settled)
        if given.watched is not None and crew.rank == 0:
            run.curve.append(_top1(progress, given, given.watched))
        progress.done = epoch + 1
        run.peak_bytes = max(run.peak_bytes, peak.so_far())
        if keeper is not None:
            keeper.keep(progress)
    if progress.average is not None:
        progress.model.load_state_dict(progress.average.values)
    run.told = progress.guide.told()


class _Told(NamedTuple):
    """Means over an epoch's pictures: the loss with what a guide adds, and the cross-entropy without.

    `settled` is the cross-entropy of its later half, the first ten batches apart, and None where it has no more.
    """

    loss: float
    cross_entropy: float
    settled: float | None


def _epoch(progress: Progress, given: _Given, epoch: int, untimed: int) -> _Told:
    """Take every picture once."""
    model, guide, run = progress.model, progress.guide, progress.run
    data, recipe, crew = given.data, given.recipe, given.crew
    per_epoch, waited = batches_per_epoch(len(data), recipe), data.wait_s
    crew.barrier()
    epoch_start = time.perf_counter()
    if guide.begin_epoch(model, epoch, recipe.epochs):
        progress.take = _step(model, guide, given)
    total, late = torch.zeros(3, dtype=torch.float64, device=crew.device), 0
    for number, batch in enumerate(batches(len(data), recipe, epoch), start=epoch * per_epoch):
        start = time.perf_counter()
        loss = progress.take(batch, epoch=epoch, number=number)
        if progress.average is not None:
            progress.average.update(model)
        settled = number - epoch * per_epoch >= max(WARM_UP_STEPS, math.ceil(per_epoch / 2))
        late += len(batch) * settled
        total += torch.stack([loss, progress.take.cross_entropy, progress.take.cross_entropy * settled])
        synchronise(crew.device)
        if number >= untimed:
            run.step_s.append(time.perf_counter() - start)
    guide.end_epoch(model, epoch)
    told = _means(total, len(data), late, crew)
    run.loss.append(told.loss)
    run.epoch_s.append(time.perf_counter() - epoch_start)
    run.wait_s.append(data.wait_s - waited)
    return told


def _step(model: nn.Module, guide: Guide, given: _Given) -> Step:
    return step_of(model, given.data, given.recipe, given.crew, guide, given.kernels)


def _means(total: Tensor, n: int, late: int, crew: Crew) -> _Told:
    """Of sums over `n` pictures, the last one over `late` of them."""
    if crew.world > 1:
        torch.distributed.all_reduce(total)
    alike = crew.world // crew.data_world  # ranks that work on one share have its loss each
    loss, cross_entropy, settled = (total / alike).tolist()
    return _Told(loss / n, cross_entropy / n, settled / late if late else None)


def _top1(progress: Progress, given: _Given, watched: Watched) -> float:
    """In percent, of the weights that would be given back now."""
    average, data = progress.average, given.data
    # No more pictures at a time than a rank trains on, so that the peak of memory stays the training's.
    most = max(1, given.recipe.batch_size // given.crew.data_world)
    with average.in_place_of(progress.model) if average is not None else nullcontext():
        correct = count_correct(
            progress.model,
            watched.pictures,
            watched.labels,
            data.normalisation,
            device=given.crew.device,
            dtype=data.dtype,
            batch_size=most,
        )
    return 100 * correct / len(watched.labels)


def _check_average(guide: Guide | None, recipe: Recipe) -> None:
    if recipe.ema and guide is not None and guide.on_manifold:
        raise NotApplicable(
            f"ema = {recipe.ema:g} averages the weights of all steps, and an average of points of a manifold, on which "
            f"this training keeps them, lies beside it; leave ema at 0, or take a training such as finetune"
        )


def wanting_whole_weights(guide: Guide | None, recipe: Recipe, watched: Watched | None) -> list[str]:
    """What reads the whole network on each process during training, by name."""
    wants = {
        "this training method": guide is not None and type(guide) is not Guide and not guide.shardable,
        "decay_on = kernel": recipe.decay_on == "kernel",
        "clip": bool(recipe.clip),
        "curve": watched is not None,
    }
    return [name for name, wanted in wants.items() if wanted]


def _check_sharded(guide: Guide | None, recipe: Recipe, watched: Watched | None) -> None:
    """Nothing may want whole weights during training where no rank has them."""
    for what in wanting_whole_weights(guide, recipe, watched):
        raise NotApplicable(
            f"{what} wants the whole network on each process, which has a shard of it; take ddp instead"
        )


@contextmanager
def _own_generator(recipe: Recipe, crew: Crew) -> Iterator[None]:
    """Layers that draw at random (dropout) draw from (seed, rank); the caller's generator returns unmoved."""
    with torch.random.fork_rng(devices=[crew.device] if crew.device.type == "cuda" else []):
        torch.manual_seed(key(recipe.seed, crew.data_rank, LAYERS))
        yield
