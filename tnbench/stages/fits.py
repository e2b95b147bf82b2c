"""What the fits of a case tell: metrics and raw samples, by the names of the metric registry."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tnbench.core.protocols import Fit
from tnbench.measure.energy import Energy


def fit_metrics(fits: Sequence[Fit], pictures: int) -> dict[str, float]:
    """Times, peaks and losses of all `fits` together, each of which saw `pictures` training pictures an epoch.

    How long an epoch and a step take is that of the last fit that had any: earlier ones may be of a network of another
    size, such as the dense one.
    """
    if not fits:
        return {}
    epochs = [seconds for fit in fits for seconds in fit.epoch_s]
    last = _last_trained(fits)
    found: dict[str, float] = {
        "train_s": sum(epochs),
        "train_peak_bytes": max(fit.peak_bytes for fit in fits),
        "processes": fits[-1].processes,
        "threads": fits[-1].threads,
    }
    if epochs:
        found |= {"epoch_s": median(last.epoch_s), "train_loss": last.loss[-1]}
        found |= _pace(fits, sum(epochs), pictures * len(epochs))
    slowest = [max(step) for step in zip(*last.step_s, strict=True)]
    return {**found, "step_ms": 1e3 * median(slowest)} if slowest else found


def _last_trained(fits: Sequence[Fit]) -> Fit:
    """The last one that had epochs; the last one where none had."""
    return next((fit for fit in reversed(fits) if fit.epoch_s), fits[-1])


def _pace(fits: Sequence[Fit], seconds: float, pictures: int) -> dict[str, float]:
    found = {"train_pictures_per_s": pictures / seconds}
    waited = [wait for fit in fits for wait in fit.wait_s]
    return {**found, "wait_share": 100 * sum(waited) / seconds} if waited else found


def fit_samples(fits: Sequence[Fit]) -> dict[str, list[Any]]:
    """`loss` for each epoch of all fits; `epoch_s` and `step_ms` (one list per rank) of the last one that had any.

    `top1_curve` is the last fit's, of the network at its final ranks, and only where the settings ask for it. What
    guides told stands under their own names, the fits one after the other.
    """
    if not fits:
        return {}
    last, curve = _last_trained(fits), fits[-1].curve
    return {
        "loss": [loss for fit in fits for loss in fit.loss],
        "epoch_s": list(last.epoch_s),
        "step_ms": [[1e3 * seconds for seconds in steps] for steps in last.step_s],
        **({"top1_curve": list(curve)} if curve else {}),
        **_told(fits),
    }


def _told(fits: Sequence[Fit]) -> dict[str, list[Any]]:
    """What guides told, the fits one after the other."""
    names = dict.fromkeys(name for fit in fits for name in fit.told)
    return {name: [value for fit in fits for value in fit.told.get(name, [])] for name in names}


def energy_metrics(energies: Sequence[Energy], fits: Sequence[Fit] = ()) -> dict[str, float]:
    """Joules of all fits together; nothing where those of one are unknown, or where one of `fits` was resumed."""
    known = [energy.joules for energy in energies if energy.joules is not None]
    whole = known and len(known) == len(energies) and not resumed(fits)
    return {"train_energy_j": sum(known)} if whole else {}


def resumed(fits: Sequence[Fit]) -> bool:
    """Whether one went on from where an earlier run was killed, so that clocks and counters saw only its end."""
    return any(fit.resumed for fit in fits)
