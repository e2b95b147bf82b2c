"""Training stage: one fit, spread over the processes of the parallel plug-in."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from tnbench.core.job import Job
from tnbench.core.protocols import (
    Augmentation,
    Crew,
    Fit,
    Guide,
    Normalisation,
    Recipe,
    Shape,
    StoredPictures,
    Task,
)
from tnbench.core.registry import Bound
from tnbench.core.settings import Settings
from tnbench.engine.checkpoint import Checkpoint
from tnbench.engine.loop import RankFit, Watched, fit, wanting_whole_weights
from tnbench.engine.splitmix import key
from tnbench.stages.prepare import Prepared, dtype_of, numerics
from tnbench.stages.resuming import checkpoint_of

MOST_STEPS = 512
"""Steps whose times a record keeps, evenly spread over the run: enough for any median, small enough to read."""


@dataclass(frozen=True)
class Share:
    """All that a rank needs to train; it crosses to the rank's process. The model is on the CPU."""

    model: nn.Module
    pictures: Tensor | StoredPictures
    labels: Tensor
    normalisation: Normalisation
    augmentation: Augmentation
    recipe: Recipe
    settings: Settings
    checkpoint: Checkpoint
    guide: Guide | None = None
    kernels: Mapping[str, Shape] = field(default_factory=dict)
    watched: Watched | None = None

    def task(self) -> Task:
        """What is trained, for a plug-in that chooses by it."""
        recipe, shape = self.recipe, tuple(self.pictures.shape[1:])
        batch = min(recipe.batch_size, len(self.pictures))
        wants = wanting_whole_weights(self.guide, recipe, self.watched)
        return Task(self.model, shape, batch, recipe, self.settings.dtype, bool(wants))


def fit_model(
    prepared: Prepared,
    model: nn.Module,
    parallel: Bound,
    *,
    epochs: int,
    lr: float,
    guide: Guide | None = None,
    kernels: Mapping[str, Shape] | None = None,
    number: int = 1,
) -> Fit:
    """Train `model` in place on every rank of `parallel`, as fit number `number` of the case.

    `kernels` are those of its compressed layers. Raises Diverged or RankDied.
    """
    settings, pictures = prepared.job.settings, prepared.pictures
    recipe = recipe_of(prepared.job, epochs=epochs, lr=lr, ranks=parallel.atom.count or 1, number=number)
    share = Share(
        copy.deepcopy(model).cpu(),
        pictures.train,
        pictures.train_labels,
        prepared.normalisation,
        pictures.augmentation,
        recipe,
        settings,
        checkpoint_of(prepared, model, recipe, number),
        copy.deepcopy(guide),
        kernels or {},
        Watched(pictures.test, pictures.test_labels) if settings.curve and pictures.meaningful else None,
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
        curve=first.curve,
        wait_s=[max(waited) for waited in zip(*(rank.wait_s for rank, _ in ranks), strict=True)],
        resumed=first.resumed,
    )


def recipe_of(job: Job, *, epochs: int, lr: float, ranks: int = 1, number: int = 1) -> Recipe:
    """How fit number `number` of the job's case is run by so many ranks (or threads, where these are what is counted).

    The first one draws from the case's seed, each later one from a seed of its own that follows from it.
    """
    seed = job.case.seed if number == 1 else key(job.case.seed, number)
    own: dict[str, Any] = {"epochs": epochs, "lr": lr, "seed": seed}
    names = [field.name for field in dataclasses.fields(Recipe) if field.name not in own]
    recipe = Recipe(**own, **{name: getattr(job.settings, name) for name in names})
    return dataclasses.replace(recipe, batch_size=ranks * recipe.batch_size) if job.settings.batch_per_rank else recipe


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
            kernels=share.kernels,
            watched=share.watched,
            checkpoint=share.checkpoint,
        )
    return fitted, list(crew.notes)


def _thinned(steps: list[float]) -> list[float]:
    return steps[:: max(1, math.ceil(len(steps) / MOST_STEPS))]
