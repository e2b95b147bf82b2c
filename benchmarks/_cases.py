"""The cases of suite asv, each laid out with the tnbench of the commit that asv has installed.

Cases and settings come from the working tree, not from that tnbench: asv knows the values of a parameter by their
place in the list, so the list must be the same at every commit.
"""

from __future__ import annotations

import io
import os
import time
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import torch

import tnbench
from tnbench.core.case import Case
from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.job import Job
from tnbench.core.settings import Limits, Settings

try:
    from tnbench.stages.workbench import Workbench
except ModuleNotFoundError as error:
    if error.name != "tnbench.stages.workbench":
        raise
    Workbench = None  # type: ignore[assignment, misc]

# asv imports this module once and forks for each case. Deterministic mode loads torch's compiler, which takes seconds.
torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())

__all__ = ("BATCH", "Call", "PerCase", "Workbench", "shown", "workbench")

Call = Callable[[], Any]

_FILE = Path(__file__).parents[1] / "tnbench" / "suites" / "asv.toml"
_SUITE = tomllib.loads(_FILE.read_text(encoding="utf-8"))

BATCH: int = _SUITE["settings"]["batch_size"]


class PerCase:
    """What the benchmarks share: one parameter, the case, and a call that `lay_out` makes ready."""

    params: ClassVar[list[str]] = _SUITE["cases"]
    param_names: ClassVar[list[str]] = ["case"]

    version = "1"
    """Raised by hand when a number comes to mean something else: asv compares no number with one of another version."""

    # Every case keeps to one thread, so the time that the processor gave to this process is the case's alone. The
    # clock on the wall shows twice as much as soon as somebody else uses the machine.
    timer = staticmethod(time.process_time)
    number = 1
    repeat = (8, 20, 1.5)
    rounds = 3
    warmup_time = 0.2

    call: Call

    def setup(self, case: str) -> None:
        """Make the call ready, once: asv comes here before each call that it times, always with the same case."""
        if "call" not in vars(self):
            with redirect_stdout(io.StringIO()):  # asv takes the table of layers for an error message
                self.call = self.lay_out(workbench(case))

    def lay_out(self, bench: Workbench) -> Call:
        """The call that is measured."""
        raise NotImplementedError


def shown(name: str, unit: str = "seconds") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a benchmark the name and the unit that asv's site shows."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        vars(function).update(pretty_name=name, unit=unit)
        return function

    return mark


def workbench(case: str) -> Workbench:
    """The workbench of a case, entered for good: asv measures each value of a parameter in a process of its own.

    Raises NotImplementedError, which asv shows as n/a, where the commit does not know the case.
    """
    _check_origin()
    if Workbench is None:
        raise NotImplementedError("this commit has no tnbench.stages.workbench yet")
    try:
        settings = Settings().changed(_SUITE["settings"])
        return Workbench(Job(Case.parse(case), "asv", settings, Limits(), Path("data"), Path("results"))).__enter__()
    except (UsageError, NotApplicable) as error:
        raise NotImplementedError(f"this commit does not run {case}: {error}") from None


def _check_origin() -> None:
    folder, package = os.environ.get("ASV_ENV_DIR"), Path(tnbench.__file__ or "").resolve().parent
    if folder and not package.is_relative_to(Path(folder).resolve()):
        raise RuntimeError(f"got the tnbench of {package}, wanted the commit's, which asv installed under {folder}")
