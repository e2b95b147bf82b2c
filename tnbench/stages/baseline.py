"""The dense network that compressed cases start from: trained once per model, dataset, seed and settings."""

from __future__ import annotations

import dataclasses

from tnbench.core.baseline import Baseline
from tnbench.core.grammar import Atom
from tnbench.core.job import Job
from tnbench.core.registry import Registry
from tnbench.core.settings import baseline_key
from tnbench.measure.environment import provenance
from tnbench.stages.prepare import Prepared, numerics, prepare
from tnbench.stages.resuming import forgets_checkpoints
from tnbench.stages.tools import count_right
from tnbench.stages.train import fit_model
from tnbench.store.checkpoints import save_state


@forgets_checkpoints
def run_baseline(job: Job) -> Baseline:
    """Train the dense network of `job.case` in one process and store its weights by content.

    What settings have for cases alone, such as a curve, is not done here. Raises Diverged when its training leaves the
    finite numbers.
    """
    settings, case = dataclasses.replace(job.settings, curve=False, tune=0), job.case
    prepared = prepare(dataclasses.replace(job, settings=settings))
    facts = provenance(settings.device)
    single = Registry(job.plugin_files).bind("parallel", Atom("single"))
    with numerics(settings):
        model = prepared.build()
        fitted = fit_model(prepared, model, single, epochs=settings.baseline_epochs, lr=settings.baseline_lr)
        correct = count_right(prepared, model)
    return Baseline(
        model=case.model,
        dataset=case.dataset,
        seed=case.seed,
        key=baseline_key(case.model, case.dataset, case.seed, settings),
        digest=save_state(job.results, model.state_dict()),
        origin="trained",
        data_digest=prepared.pictures.digest,
        metrics={"train_s": sum(fitted.epoch_s), **accuracy(prepared, correct)},
        versions={axis: prepared.plugins[axis].listing.version for axis in ("model", "dataset")},
        settings=settings.of_baseline(),
        provenance={**facts, **({"resumed": True} if fitted.resumed else {})},
    )


def accuracy(prepared: Prepared, correct: int | None) -> dict[str, float]:
    """Top-1 in percent and its counts; nothing where labels mean nothing."""
    if correct is None:
        return {}
    pictures = len(prepared.pictures.test)
    return {"top1": 100 * correct / pictures, "correct": correct, "test_pictures": pictures}
