"""One case from start to end: prepare, decompose and train as its training plug-in says, evaluate, measure."""

from __future__ import annotations

from typing import Any

from tnbench.core.baseline import Baseline
from tnbench.core.job import Job
from tnbench.core.protocols import Fit
from tnbench.core.record import Record
from tnbench.measure.environment import provenance, usable_cores
from tnbench.stages.baseline import accuracy
from tnbench.stages.dry_run import measure_volumes
from tnbench.stages.fits import energy_metrics, fit_metrics, fit_samples, resumed
from tnbench.stages.measure import Measured, measure_forward, measure_size
from tnbench.stages.predicted import predict
from tnbench.stages.prepare import Prepared, numerics, prepare
from tnbench.stages.resuming import forgets_checkpoints
from tnbench.stages.score import score
from tnbench.stages.spread import measure_spread
from tnbench.stages.tools import CaseTools
from tnbench.stages.training import needs_baseline, run_training
from tnbench.stages.tune import tune


@forgets_checkpoints
def run_case(job: Job) -> Record:
    """Run the case and record it.

    Raises NotApplicable (becomes ``skipped``), Diverged, RankDied (``crashed``), UsageError or PluginError.
    """
    prepared = prepare(job)
    facts = provenance(job.settings.device)
    with numerics(job.settings):
        tuning = tune(prepared)
        tools = CaseTools(tuning.prepared)
        model = run_training(tools)
        layers = tools.layers()
        scored = score(prepared, model)
        size = measure_size(model, prepared.build(), prepared.pictures.in_shape)
        forward = measure_forward(prepared, model)
        volumes = measure_volumes(prepared, model, tools.notes.append)
        spread = volumes or measure_spread(prepared, model, tools.decompositions)
        tools.notes.extend(spread.notes)  # those of a launch that is none of the training's
    predicted = predict(prepared, model, spread, facts, tools.notes.append)
    metrics = {
        **spread.metrics,
        **predicted.metrics,
        **size.metrics,
        **_decomposition_metrics(tools),
        **fit_metrics(tools.fits, len(prepared.pictures.train)),
        **tuning.metrics,
        **energy_metrics(tools.energies, tools.fits),
        **scored.metrics,
        **_accuracy_before(tools),
        **forward.metrics,
    }
    return Record(
        case=job.case.id,
        key=job.key,
        status="ok",
        metrics={**metrics, **_end_to_end(job, needs_baseline(prepared), metrics, facts)},
        samples={
            **forward.samples,
            **spread.samples,
            **predicted.samples,
            **fit_samples(tools.fits),
            **scored.samples,
            **_phases(tools),
        },
        layers=layers,
        notes=[*tuning.notes, *_notes(job, prepared, tools, facts)],
        settings=job.settings.as_json(),
        limits={"timeout_s": job.limits.timeout_s},
        provenance={
            **facts,
            "forward_threads": forward.threads,
            "oversubscribed": _oversubscribed(tools.fits, forward, spread),
            "baseline": _baseline_facts(job),
            **tuning.facts,
            **({"resumed": True} if resumed(tools.fits) else {}),
            **({"energy_meter": tools.energies[-1].source} if tools.energies else {}),
        },
    )


def _decomposition_metrics(tools: CaseTools) -> dict[str, float]:
    decompositions = tools.decompositions
    if not decompositions:
        return {}
    last = decompositions[-1].summary
    found = {
        "decompose_s": sum(decomposition.seconds for decomposition in decompositions),
        "decompose_peak_bytes": max(decomposition.peak_bytes for decomposition in decompositions),
        "params_nonzero": last.nonzero,
        "params_layers": last.params_layers,
        "params_layers_dense": last.params_layers_dense,
    }
    if tools.recalibrate_s is not None:
        found["recalibrate_s"] = tools.recalibrate_s
    # How far random weights are from the factors that begin in their place says nothing.
    if tools.from_random or last.weight_error is None:
        return found
    return {**found, "weight_error": last.weight_error}


def _phases(tools: CaseTools) -> dict[str, list[Any]]:
    """What was done in which order, and the ranks on the way where there was more than one decomposition."""
    path = {"rank_path": tools.rank_path} if len(tools.decompositions) > 1 else {}
    return {"phases": tools.phases, **path}


def _accuracy_before(tools: CaseTools) -> dict[str, float]:
    before = accuracy(tools.prepared, tools.correct_before)
    stored = tools.prepared.job.baseline
    found = {"top1_before": before["top1"]} if before else {}
    return {**found, "top1_baseline": stored.metrics["top1"]} if stored and "top1" in stored.metrics else found


def _end_to_end(job: Job, from_baseline: bool, metrics: dict[str, float], facts: dict[str, Any]) -> dict[str, float]:
    own = sum(metrics.get(name, 0.0) for name in ("decompose_s", "train_s", "recalibrate_s"))
    if not from_baseline:
        return {"end_to_end_s": own}
    if job.baseline is None or _why_no_baseline_time(job.baseline, facts):
        return {}
    trained = job.baseline.metrics["train_s"]
    return {"baseline_s": trained, "end_to_end_s": trained + own}


def _notes(job: Job, prepared: Prepared, tools: CaseTools, facts: dict[str, Any]) -> list[str]:
    notes = list(dict.fromkeys([*tools.notes, *(note for fit in tools.fits for note in fit.notes)]))
    if not prepared.pictures.meaningful:
        notes.append("labels are made up, so accuracy is left empty")
    if job.settings.batch_per_rank:
        notes.append(
            "each rank, or thread of threads:P, has batch_size pictures of a step: with more of them the global batch "
            "is larger, there are fewer steps in an epoch, and accuracy is that of another training"
        )
    if resumed(tools.fits) and energy_metrics(tools.energies):
        notes.append("energy was counted since the training was resumed alone, so train_energy_j is left empty")
    reason = _why_no_baseline_time(job.baseline, facts) if job.baseline else ""
    return [*notes, f"{reason}, so end_to_end_s is left empty"] if reason else notes


def _why_no_baseline_time(baseline: Baseline, facts: dict[str, Any]) -> str:
    """Why the time of the baseline's training says nothing here; empty if it does."""
    if baseline.imported:
        return "the baseline was imported: what its training took is unknown"
    if _machine(baseline.provenance) != _machine(facts):
        return "the baseline was trained on another device or with another torch"
    return ""


def _machine(facts: dict[str, Any]) -> tuple[Any, ...]:
    return facts.get("cpu"), facts.get("gpu"), facts.get("versions", {}).get("torch")


def _oversubscribed(fits: list[Fit], forward: Measured, spread: Measured) -> bool:
    """More threads than usable cores, in training or in what was timed afterwards."""
    return max([forward.threads, spread.threads, *(fit.processes * fit.threads for fit in fits)]) > usable_cores()


def _baseline_facts(job: Job) -> dict[str, Any] | None:
    if job.baseline is None:
        return None
    return {"digest": job.baseline.digest, "origin": job.baseline.origin, "source": job.baseline.source}
