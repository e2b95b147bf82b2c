"""Which checkpoints a case's fits write, and when they are done with."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from tnbench.core.errors import Diverged, NotApplicable
from tnbench.core.job import Job
from tnbench.core.protocols import Recipe
from tnbench.engine.checkpoint import Checkpoint
from tnbench.measure.environment import torch_version
from tnbench.stages.prepare import Prepared

Given = TypeVar("Given")


def checkpoint_of(prepared: Prepared, model: nn.Module, recipe: Recipe, number: int) -> Checkpoint:
    """The checkpoint of the case's fit number `number` (from 1), which begins with the weights of `model`."""
    job = prepared.job
    file = _folder(job) / f"{job.key}-{number}.pt"
    return Checkpoint(file.resolve(), _start(prepared, model, recipe), job.limits.checkpoint_s, job.resumes)


def forgets_checkpoints(run: Callable[[Job], Given]) -> Callable[[Job], Given]:
    """`run`, after which nothing is left of what its fits wrote, unless it ended so that it may be run again."""

    @functools.wraps(run)
    def call(job: Job) -> Given:
        try:
            given = run(job)
        except (Diverged, NotApplicable):
            _forget(job)
            raise
        _forget(job)
        return given

    return call


def _forget(job: Job) -> None:
    for file in _folder(job).glob(f"{job.key}-*"):
        file.unlink(missing_ok=True)


def _folder(job: Job) -> Path:
    return job.results / "resume"


def _start(prepared: Prepared, model: nn.Module, recipe: Recipe) -> str:
    """A digest of all that the bits of a fit depend on beside the case and its settings."""
    bound = (*prepared.methods, *prepared.plugins.values(), *prepared.companions)
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "plugins": [[plugin.listing.name, plugin.listing.version] for plugin in bound],
        "data": prepared.pictures.digest,
        "baseline": prepared.job.baseline.digest if prepared.job.baseline else None,
        "torch": torch_version(),
        "threads": torch.get_num_threads(),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
