"""Training stage: one fit, spread over the processes of the parallel plug-in."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from tnbench.core.job import Job
from tnbench.core.protocols import Augmentation, Crew, Fit, Guide, Normalisation, Recipe
from tnbench.core.registry import Bound
from tnbench.core.settings import Settings
from tnbench.engine.loop import RankFit, fit
from tnbench.stages.prepare import Prepared, dtype_of, numerics

MOST_STEPS = 512
"""Steps whose times a record keeps, evenly spread over the run: enough for any median, small enough to read."""


@dataclass(frozen=True)
class Share:
    """All that a rank needs to train; it crosses to the rank's process. The model is on the CPU."""

    model: nn.Module
    pictures: Tensor
    labels: Tensor
    normalisation: Normalisation
    augmentation: Augmentation
    recipe: Recipe
    settings: Settings
    guide: Guide | None = None


def fit_model(
    prepared: Prepared, model: nn.Module, parallel: Bound, *, epochs: int, lr: float, guide: Guide | None = None
) -> Fit:
    """Train `model` in place on every rank of `parallel`. Raises Diverged or RankDied."""
    settings, pictures = prepared.job.settings, prepared.pictures
    share = Share(
        copy.deepcopy(model).cpu(),
        pictures.train,
        pictures.train_labels,
        prepared.normalisation,
        pictures.augmentation,
        recipe_of(prepared.job, epochs=epochs, lr=lr),
        settings,
        copy.deepcopy(guide),
    )
    ranks: list[tuple[RankFit, list[str]]] = parallel.module.launch(
        partial(train_rank, share=share),
        parallel.atom.count,
        parallel.options,
        settings.device,
        prepared.job.plugin_files,
    )
    first, notes = ranks[0]
    model.load_state_dict(first.state)
    for epoch, (loss, seconds) in enumerate(zip(first.loss, first.epoch_s, strict=True), start=1):
        print(f"epoch {epoch} of {epochs}: loss {loss:.4f}, {seconds:.2f} s")
    return Fit(
        loss=first.loss,
        epoch_s=first.epoch_s,
        step_s=[_thinned(rank.step_s) for rank, _ in ranks],
        peak_bytes=max(rank.peak_bytes for rank, _ in ranks),
        processes=len(ranks),
        threads=first.threads,
        notes=notes,
        told=first.told,
    )


def recipe_of(job: Job, *, epochs: int, lr: float) -> Recipe:
    """How a fit of the job's case is run."""
    settings = job.settings
    return Recipe(epochs, lr, settings.batch_size, settings.momentum, settings.weight_decay, seed=job.case.seed)


def train_rank(crew: Crew, *, share: Share) -> tuple[RankFit, list[str]]:
    """What every rank runs: its fit, and the notes of its crew."""
    with numerics(share.settings):
        fitted = fit(
            share.model.to(crew.device),
            share.pictures,
            share.labels,
            normalisation=share.normalisation,
            augmentation=share.augmentation,
            recipe=share.recipe,
            crew=crew,
            dtype=dtype_of(share.settings),
            guide=share.guide,
        )
    return fitted, list(crew.notes)


def _thinned(steps: list[float]) -> list[float]:
    return steps[:: max(1, math.ceil(len(steps) / MOST_STEPS))]
