"""Measuring a trained network on all ranks of its case: steps, what is sent in them, inference. For timing only."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tnbench.core.protocols import Crew, Recipe, Task
from tnbench.core.settings import Settings
from tnbench.distributed.collectives import Counted, all_reduce, counting, muted, size
from tnbench.engine.evaluate import mode_of, normalise
from tnbench.engine.loop import WARM_UP_STEPS, wanting_whole_weights
from tnbench.engine.optimiser import optimiser_for
from tnbench.engine.precision import autocast, compiled, laid_out, lay_out
from tnbench.engine.reading import BatchRequest, read
from tnbench.engine.shares import check_shares
from tnbench.measure.clock import Laps
from tnbench.stages.decompose import Decomposition
from tnbench.stages.measure import WARM_UP_CALLS, Measured
from tnbench.stages.prepare import Prepared, numerics
from tnbench.stages.spread_decomposition import Layers, layers_of, measure_decomposition
from tnbench.stages.train import recipe_of

PHASES = ("forward_phase_ms", "backward_phase_ms", "optimiser_phase_ms")
_TOTAL, _CORES = len(PHASES), len(PHASES) + 1
LEAST_SAMPLES, MOST_SAMPLES, ABOUT_S = 6, 30, 3.0
"""As many samples of each kind as take about so long, within these bounds."""


@dataclass(frozen=True)
class Work:
    """All that a rank needs; it crosses to the rank's process. `batch` (N, C, H, W) is a global one, normalised."""

    model: nn.Module
    batch: Tensor
    labels: Tensor
    recipe: Recipe
    settings: Settings
    layers: Layers | None = None

    def task(self) -> Task:
        """What is timed, for a plug-in that chooses by it."""
        # The training that these steps stand for read whole weights for its curve too.
        whole = self.settings.curve or bool(wanting_whole_weights(None, self.recipe, None))
        shape = tuple(self.batch.shape[1:])
        return Task(self.model, shape, len(self.batch), self.recipe, self.settings.dtype, whole)


@dataclass
class RankFound:
    """What one rank measured: samples by the names of metrics, and the words of its collectives."""

    threads: int
    times: dict[str, list[float]] = field(default_factory=dict)
    words: dict[str, Counted] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    core_share: float | None = None
    """Of its cores, in steps that wait for nobody; None on a GPU."""


def measure_spread(prepared: Prepared, model: nn.Module, decompositions: Sequence[Decomposition] = ()) -> Measured:
    """Time `model` on every rank of the case, unless the case is one process with the threads that torch takes.

    One launch takes a batch of the global size again and again: training steps as they are and, in turns with them,
    with nothing sent; then forward passes in eval mode; then the layers of the last of `decompositions` are factorised
    by all ranks. The steps' rate is 0, so that weights stay as they are on all ranks although muted steps know nothing
    of the others' gradients. Guides of a training have no part in these steps.
    """
    parallel, settings = prepared.plugins["parallel"], prepared.job.settings
    if parallel.atom.name == "single":
        return Measured({})
    ranks: list[RankFound] = parallel.module.launch(
        partial(measure_rank, work=_work(prepared, model, layers_of(prepared, decompositions))),
        parallel.atom.count,
        parallel.options,
        settings.device,
        prepared.job.plugin_files,
    )
    return _measured(ranks)


def _work(prepared: Prepared, model: nn.Module, layers: Layers | None) -> Work:
    pictures, settings = prepared.pictures, prepared.job.settings
    ranks = prepared.plugins["parallel"].atom.count or 1
    recipe = recipe_of(prepared.job, epochs=max(1, settings.epochs), lr=settings.lr, ranks=ranks)
    there = len(pictures.train) > 0
    some, labels = (pictures.train, pictures.train_labels) if there else (pictures.test, pictures.test_labels)
    indices = torch.arange(recipe.batch_size) % len(some)
    (raw,) = read(some, [BatchRequest(indices)])
    batch = normalise(raw, prepared.normalisation, prepared.dtype)
    return Work(copy.deepcopy(model).cpu(), batch, labels[indices], recipe, settings, copy.deepcopy(layers))


def _measured(ranks: Sequence[RankFound]) -> Measured:
    """Of every call the slowest rank's time counts; of words those of the rank that gives most."""
    samples: dict[str, list[Any]] = {name: [rank.times[name] for rank in ranks] for name in ranks[0].times}
    metrics: dict[str, float] = {name: median(slowest(samples[name])) for name in samples}
    for name in ranks[0].words:
        most = max((rank.words[name] for rank in ranks), key=lambda counted: counted.words)
        metrics[name] = most.words
        if most.calls:
            samples[name] = [[kind, most.of(kind)] for kind in dict.fromkeys(call.kind for call in most.calls)]
    shares = [100 * rank.core_share for rank in ranks if rank.core_share is not None]
    if shares:
        metrics["core_share"] = min(shares)
    metrics |= {"processes": len(ranks), "threads": ranks[0].threads}
    return Measured(metrics, samples, len(ranks) * ranks[0].threads, ranks[0].notes)


def slowest(ranks: Sequence[Sequence[float]]) -> list[float]:
    """The largest of the ranks' numbers, call by call."""
    return [max(call) for call in zip(*ranks, strict=True)]


def measure_rank(crew: Crew, *, work: Work) -> RankFound:
    """What every rank runs. Raises NotApplicable where the batch has fewer pictures than it has shares."""
    check_shares(len(work.batch), crew.data_world, work.recipe.batch_size)
    drawn_on = [crew.device] if crew.device.type == "cuda" else []
    with numerics(work.settings), torch.random.fork_rng(devices=drawn_on):  # dropout draws
        work.model.to(crew.device)
        lay_out(work.model, work.recipe)
        wrapped = crew.wrap(work.model)
        found = RankFound(crew.threads, notes=crew.notes)
        inputs, labels = (
            tensor.tensor_split(crew.data_world)[crew.data_rank].to(crew.device) for tensor in (work.batch, work.labels)
        )
        inputs = laid_out(inputs, work.recipe)
        step = partial(_step, crew, wrapped, compiled(wrapped, work.recipe, crew), inputs, labels, _still(crew, work))
        _measure_steps(crew, step, found)
        _measure_inference(crew, _unwrapped(wrapped), inputs, found)
        if work.layers is not None and crew.world > 1:
            alone, together = measure_decomposition(crew, work.layers)
            found.times |= {"decompose_alone_s": alone, "decompose_spread_s": together}
    return found


def _unwrapped(wrapped: nn.Module) -> nn.Module:
    """What to call where there are no gradients to average: a replica, that torch need not send buffers to."""
    return wrapped.module if isinstance(wrapped, DistributedDataParallel) else wrapped


def _still(crew: Crew, work: Work) -> tuple[torch.optim.Optimizer, Recipe]:
    """The recipe's optimiser, that does all of its arithmetic and moves no weight."""
    still = dataclasses.replace(work.recipe, lr=0.0)
    return optimiser_for(work.model, still, crew=crew), still


def _step(
    crew: Crew,
    wrapped: nn.Module,
    called: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    still: tuple[torch.optim.Optimizer, Recipe],
) -> list[float]:
    """One training step: seconds of its phases in the order of `PHASES`, of all of it, and of this process's cores."""
    optimiser, recipe = still
    optimiser.zero_grad(set_to_none=True)
    wrapped.train()
    crew.barrier()
    busy, laps = time.process_time(), Laps(crew.device)
    with autocast(crew.device, recipe):
        scores = called(inputs)
    loss = functional.cross_entropy(scores.float() if recipe.amp else scores, labels)
    laps.lap()
    loss.backward()
    laps.lap()
    optimiser.step()
    return [*laps.end(), laps.total, time.process_time() - busy]


def _measure_steps(crew: Crew, step: Callable[[], list[float]], found: RankFound) -> None:
    """As they are and muted, in turns, so that a slow spell of the machine falls on both alike."""
    for _ in range(WARM_UP_STEPS - 1):
        step()
    with counting() as counted:
        seconds = step()[_TOTAL]
    found.words["words_step"] = counted
    with muted():
        step()
    taken, silent = [], []
    for _ in range(_samples(seconds, crew)):
        taken.append(step())
        if crew.world > 1:
            with muted():
                silent.append(step())
    found.times["fixed_step_ms"] = [1e3 * laps[_TOTAL] for laps in taken]
    if crew.world > 1:
        found.times["muted_step_ms"] = [1e3 * laps[_TOTAL] for laps in silent]
    if crew.device.type == "cpu":  # where nothing is sent nobody waits, so that all of a step is work
        found.core_share = median(laps[_CORES] / laps[_TOTAL] for laps in silent or taken) / crew.threads
    for place, name in enumerate(PHASES):
        found.times[name] = [1e3 * laps[place] for laps in taken]


def _measure_inference(crew: Crew, network: nn.Module, inputs: Tensor, found: RankFound) -> None:
    def call() -> float:
        crew.barrier()
        laps = Laps(crew.device)
        network(inputs)
        laps.end()
        return laps.total

    with torch.no_grad(), mode_of(network, training=False):
        for _ in range(WARM_UP_CALLS - 1):
            call()
        with counting() as counted:
            seconds = call()
        found.words["words_infer"] = counted
        found.times["infer_ms"] = [1e3 * call() for _ in range(_samples(seconds, crew))]


def _samples(seconds: float, crew: Crew) -> int:
    """How many calls of about so many seconds to time: the same number on every rank."""
    mean = float(all_reduce(torch.tensor([seconds], device=crew.device))) / size()
    return min(max(int(ABOUT_S / max(mean, 1e-6)), LEAST_SAMPLES), MOST_SAMPLES)
