"""Which trainings a calibration speaks of: its layers are timed in float32, as torch runs them without being told."""

from __future__ import annotations

from tnbench.core.protocols import Recipe

CALIBRATED = "float32 with SGD, and without amp, channels_last and compile"


def uncalibrated(recipe: Recipe, dtype: str) -> str:
    """What of a training calibrations do not know, as settings are written; empty where they know all of it.

    >>> uncalibrated(Recipe(1, 0.1, batch_size=8, momentum=0.9, weight_decay=0.0, seed=0, amp=True), "float64")
    'dtype = float64, amp'
    """
    found = [f"dtype = {dtype}"] if dtype != "float32" else []
    found += [f"optimiser = {recipe.optimiser}"] if recipe.optimiser != "sgd" else []
    return ", ".join([*found, *(name for name in ("amp", "channels_last", "compile") if getattr(recipe, name))])
