"""What the cost model says of a case's training step, from the newest calibration of this machine; nothing without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tnbench.core.protocols import Recipe
from tnbench.distributed.machine import Machine
from tnbench.distributed.predict.calibrated import CALIBRATED, uncalibrated
from tnbench.distributed.predict.step import Prediction, knows, predict_step
from tnbench.stages.measure import Measured
from tnbench.stages.prepare import Prepared
from tnbench.stages.train import recipe_of
from tnbench.store.calibrations import busy, calibration_of


def predict(
    prepared: Prepared, model: nn.Module, spread: Measured, facts: dict[str, Any], note: Callable[[str], Any]
) -> Measured:
    """Predicted milliseconds and words of a step of `model` as `spread` timed it; empty where nothing can be known.

    That is: without timings over ranks, without a calibration of this processor and torch in the results folder, for
    another device than the CPU, or where the cost model knows nothing of how the case is spread. What a calibration
    that is there says nothing of is a `note`.
    """
    case, settings = prepared.job.case, prepared.job.settings
    if not spread.metrics or prepared.device.type != "cpu" or not knows(case.parallel):
        return Measured({})
    processes, threads = int(spread.metrics["processes"]), int(spread.metrics["threads"])
    torch_version = str(facts["versions"]["torch"])
    machine = calibration_of(prepared.job.results, cpu=str(facts["cpu"]), torch=torch_version, ranks=processes)
    if machine is None:
        return Measured({})
    ranks = prepared.plugins["parallel"].atom.count or 1
    recipe = recipe_of(prepared.job, epochs=1, lr=settings.lr, ranks=ranks)
    found = _predicted(prepared, model, recipe, machine, threads)
    if isinstance(found, str):
        note(f"no step was predicted: {found}")
        return Measured({})
    load = busy(machine)
    if load:
        note(f"the step was predicted by a calibration of a busy machine ({load}), for there is no other")
    words: list[Any] = [list(pair) for pair in found.words_by_kind.items()]
    return Measured(
        {
            "predicted_step_ms": 1e3 * found.seconds,
            "predicted_comm_ms": 1e3 * found.communication_s,
            "predicted_words_step": sum(found.words_by_kind.values()),
        },
        {"predicted_words_step": words},
    )


def _predicted(
    prepared: Prepared, model: nn.Module, recipe: Recipe, machine: Machine, threads: int
) -> Prediction | str:
    """The reason where calibrations are of other settings, or the cost model knows nothing of the step."""
    case, other = prepared.job.case, uncalibrated(recipe, prepared.job.settings.dtype)
    if other:
        return f"calibrations are of {CALIBRATED}, and this case has {other}"
    in_shape = prepared.pictures.in_shape
    return predict_step(model, in_shape, recipe.batch_size, case.parallel, machine, threads=threads)
