"""What the fits of a case tell: metrics and raw samples, by the names of the metric registry."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tnbench.core.protocols import Fit
from tnbench.measure.energy import Energy


def fit_metrics(fits: Sequence[Fit], pictures: int) -> dict[str, float]:
    """Times, peaks and losses of all `fits` together, each of which saw `pictures` training pictures an epoch."""
    if not fits:
        return {}
    epochs = [seconds for fit in fits for seconds in fit.epoch_s]
    found: dict[str, float] = {
        "train_s": sum(epochs),
        "train_peak_bytes": max(fit.peak_bytes for fit in fits),
        "processes": fits[-1].processes,
        "threads": fits[-1].threads,
    }
    if epochs:
        found |= {"epoch_s": median(epochs), "train_loss": [loss for fit in fits for loss in fit.loss][-1]}
        found |= _pace(fits, sum(epochs), pictures * len(epochs))
    slowest = [max(step) for fit in fits for step in zip(*fit.step_s, strict=True)]
    return {**found, "step_ms": 1e3 * median(slowest)} if slowest else found


def _pace(fits: Sequence[Fit], seconds: float, pictures: int) -> dict[str, float]:
    found = {"train_pictures_per_s": pictures / seconds}
    waited = [wait for fit in fits for wait in fit.wait_s]
    return {**found, "wait_share": 100 * sum(waited) / seconds} if waited else found


def fit_samples(fits: Sequence[Fit]) -> dict[str, list[Any]]:
    """Epoch by epoch and step by step; `top1_curve` only where the settings ask for it.

    What guides told stands under their own names.
    """
    if not fits:
        return {}
    ranks = range(fits[-1].processes)
    curve = [top1 for fit in fits for top1 in fit.curve]
    return {
        "loss": [loss for fit in fits for loss in fit.loss],
        "epoch_s": [seconds for fit in fits for seconds in fit.epoch_s],
        "step_ms": [[1e3 * seconds for fit in fits for seconds in fit.step_s[rank]] for rank in ranks],
        **({"top1_curve": curve} if curve else {}),
        **_told(fits),
    }


def _told(fits: Sequence[Fit]) -> dict[str, list[Any]]:
    """What guides told, the fits one after the other."""
    names = dict.fromkeys(name for fit in fits for name in fit.told)
    return {name: [value for fit in fits for value in fit.told.get(name, [])] for name in names}


def energy_metrics(energies: Sequence[Energy]) -> dict[str, float]:
    """Joules of all fits together; nothing where those of one are unknown."""
    known = [energy.joules for energy in energies if energy.joules is not None]
    return {"train_energy_j": sum(known)} if known and len(known) == len(energies) else {}
