"""Tuning: the learning rate is chosen on validation pictures, with the same number of trials for every method."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tnbench.core.errors import Diverged, NotApplicable
from tnbench.engine.reading import subset
from tnbench.engine.validation import SHARE, split_digest, split_off_validation
from tnbench.stages.prepare import Prepared
from tnbench.stages.tools import CaseTools, count_right
from tnbench.stages.training import run_training

SPREAD = 4.0
"""Rates are drawn between the settings' over this and the settings' times this."""

_NOTHING = "nothing is trained here, so no learning rate was tuned"


@dataclass(frozen=True)
class Tuning:
    """A case at the chosen rate, and what choosing it took. `facts` are for the record's provenance."""

    prepared: Prepared
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """One training at the settings' rates times `factor`; `top1` on the validation pictures, None if it diverged.

    `seconds` are those of all of it: decomposition, training and evaluation.
    """

    factor: float
    top1: float | None
    seconds: float


def tune(prepared: Prepared) -> Tuning:
    """Choose the rate of a case whose settings have `tune`, by random search (Bergstra and Bengio 2012).

    Each of `tune` trials trains from the start, without a tenth of the training pictures, and is evaluated on those.
    The first has the settings' rates, the others those times a factor drawn log-uniformly from the case's seed, the
    same for all methods; of equal trials the first is taken. The chosen rate then is that of a training on all training
    pictures. Test pictures have no part in it. The baseline that a case starts from is the untuned one, and has seen
    the validation pictures: which favours low rates, for every method alike.

    Raises NotApplicable where labels mean nothing, Diverged where every trial does.
    """
    settings, pictures = prepared.job.settings, prepared.pictures
    if not settings.tune:
        return Tuning(prepared)
    if not pictures.meaningful:
        raise NotApplicable("tune chooses by accuracy, and the labels of this data set are made up; take tune = 0")
    if not getattr(prepared.plugins["training"].module, "TRAINS", True):
        return Tuning(prepared, notes=[_NOTHING])
    kept, split_off = split_off_validation(pictures.train_labels, prepared.job.case.seed)
    parted = _without(prepared, kept, split_off)
    trials: list[Trial] = []
    for factor in factors(settings.tune, prepared.job.case.seed):
        trial = _try(parted, factor, len(trials))
        if trial is None:
            return Tuning(prepared, notes=[_NOTHING])
        trials.append(trial)
    best = _best(trials)
    facts = {
        "validation": {"share": SHARE, "pictures": len(split_off), "digest": split_digest(split_off)},
        "trials": [_told(trial, prepared) for trial in trials],
        "chosen": best.factor,
    }
    note = (
        f"learning rates times {best.factor:.3g}, the best of {len(trials)} on {len(split_off):,} validation pictures"
    )
    seconds = sum(trial.seconds for trial in trials)
    return Tuning(_at(prepared, best.factor), {"tune_s": seconds}, {"tuning": facts}, [note])


def factors(count: int, seed: int) -> list[float]:
    """What the settings' rates are multiplied by: 1, and count - 1 draws between 1 / SPREAD and SPREAD.

    >>> [round(factor, 2) for factor in factors(3, seed=0)]
    [1.0, 2.6, 2.04]
    """
    drawn = random.Random(seed)
    return [1.0, *(SPREAD ** drawn.uniform(-1, 1) for _ in range(count - 1))]


def _try(prepared: Prepared, factor: float, number: int) -> Trial | None:
    """None where the training trains nothing."""
    key = f"{prepared.job.key}-tune{number}"
    tools = CaseTools(_at(replace(prepared, job=replace(prepared.job, key=key)), factor, curve=False))
    start = time.perf_counter()
    try:
        correct = count_right(tools.prepared, run_training(tools))
    except Diverged as error:
        print(f"rates times {factor:.3g}: {error}")
        return Trial(factor, None, time.perf_counter() - start)
    if not tools.fits or correct is None:
        return None
    trial = Trial(factor, 100 * correct / len(prepared.pictures.test), time.perf_counter() - start)
    print(f"rates times {factor:.3g}: top-1 {trial.top1:.2f} % on validation pictures")
    return trial


def _best(trials: Sequence[Trial]) -> Trial:
    good = [trial for trial in trials if trial.top1 is not None]
    if not good:
        raise Diverged(f"all {len(trials)} trainings of tune diverged; a lower rate may help (--lr)")
    return max(good, key=lambda trial: trial.top1 or 0.0)


def _at(prepared: Prepared, factor: float, **changed: Any) -> Prepared:
    """The case with both of its rates times `factor`."""
    settings = prepared.job.settings
    rates: dict[str, Any] = {"lr": settings.lr * factor, "baseline_lr": settings.baseline_lr * factor}
    return replace(prepared, job=replace(prepared.job, settings=replace(settings, **rates, **changed)))


def _without(prepared: Prepared, kept: torch.Tensor, split_off: torch.Tensor) -> Prepared:
    """The case with the pictures split off in the place of the test pictures, and out of the training."""
    pictures = prepared.pictures
    parted = replace(
        pictures,
        train=subset(pictures.train, kept),
        train_labels=pictures.train_labels[kept],
        test=subset(pictures.train, split_off),
        test_labels=pictures.train_labels[split_off],
    )
    return replace(prepared, pictures=parted)


def _told(trial: Trial, prepared: Prepared) -> dict[str, Any]:
    settings = _at(prepared, trial.factor).job.settings
    return {**dataclasses.asdict(trial), "lr": settings.lr, "baseline_lr": settings.baseline_lr}
