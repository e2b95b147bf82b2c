"""The command that runs one case again, with every setting and folder that differs from the defaults."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from tnbench.core.grammar import AXES
from tnbench.core.job import Job
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.sweep.plan import Request


def reproducing_command(job: Job, registry: Registry) -> str:
    """Text for a shell: ``tnbench run --case 'cp/x4/cnn8/digits/finetune/single#0' --epochs 3 --fresh``, say.

    It runs the case although its record stands. The folders are named because an imported baseline lies in one.
    """
    words = ["tnbench", "run", "--case", job.case.id]
    for field in dataclasses.fields(Settings):
        value = getattr(job.settings, field.name)
        if value != field.default:
            words += option(field.name, value)
    words += [word for name, value in limits_given(job.limits).items() for word in option(name, value)]
    for name in ("data_root", "results"):
        if getattr(job, name) != getattr(Request, name):
            words += option(name, getattr(job, name))
    for file in _plugin_files(job, registry):
        words += ["--plugin", file]
    return shlex.join([*words, "--fresh"])


def limits_given(limits: Limits) -> dict[str, str]:
    """Name of the option -> its value, of the limits that differ from the defaults."""
    fields = {"timeout": "timeout_s", "checkpoint_every": "checkpoint_s"}
    values = {name: (getattr(limits, field), getattr(Limits, field)) for name, field in fields.items()}
    return {name: f"{value:.12g}" for name, (value, default) in values.items() if value != default}


def option(name: str, value: Any) -> list[str]:
    """The words that give an option of the command line a value."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def _plugin_files(job: Job, registry: Registry) -> list[str]:
    """Files given by --plugin that serve a name of the case."""
    used = {registry.find(axis, atom.name).path for axis in AXES for atom in job.case.atoms(axis)}
    return [str(file) for file in registry.plugin_files if file in used]
