"""What the cost model says of a case's training step, from the newest calibration of this machine; nothing without."""

from __future__ import annotations

from typing import Any

from torch import nn

from tnbench.distributed.predict.step import predict_step
from tnbench.stages.measure import Measured
from tnbench.stages.prepare import Prepared
from tnbench.stages.train import recipe_of
from tnbench.store.calibrations import calibration_of


def predict(prepared: Prepared, model: nn.Module, spread: Measured, facts: dict[str, Any]) -> Measured:
    """Predicted milliseconds and words of a step of `model` as `spread` timed it; empty where nothing can be known.

    That is: without timings over ranks, without a calibration of this processor and torch in the results folder, for
    another device than the CPU, or where the cost model knows nothing of how the case is spread.
    """
    if not spread.metrics or prepared.device.type != "cpu":
        return Measured({})
    processes, threads = int(spread.metrics["processes"]), int(spread.metrics["threads"])
    torch_version = str(facts["versions"]["torch"])
    machine = calibration_of(prepared.job.results, cpu=str(facts["cpu"]), torch=torch_version, ranks=processes)
    if machine is None:
        return Measured({})
    ranks = prepared.plugins["parallel"].atom.count or 1
    batch = recipe_of(prepared.job, epochs=1, lr=prepared.job.settings.lr, ranks=ranks).batch_size
    case = prepared.job.case
    found = predict_step(model, prepared.pictures.in_shape, batch, case.parallel, machine, threads=threads)
    if isinstance(found, str):
        return Measured({})
    words: list[Any] = [list(pair) for pair in found.words_by_kind.items()]
    return Measured(
        {
            "predicted_step_ms": 1e3 * found.seconds,
            "predicted_comm_ms": 1e3 * found.communication_s,
            "predicted_words_step": sum(found.words_by_kind.values()),
        },
        {"predicted_words_step": words},
    )
