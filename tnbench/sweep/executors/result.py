"""What an executor is, what it gives back, and the one place where exceptions become statuses."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tnbench.core.errors import Diverged, NotApplicable, RankDied, TnbenchError


@dataclass(frozen=True)
class Result:
    """How a call ended: a record's status, the reason unless it is ``ok``, and what the call returned.

    `loss` is what a training that diverged had seen, one mean per epoch.
    """

    status: str
    reason: str = ""
    value: Any = None
    loss: tuple[float, ...] = ()


class Executor(Protocol):
    """Runs one call at a time, with a log and a time limit of its own."""

    def execute(self, call: Callable[[], Any], *, log: Path, timeout_s: float) -> Result:
        """Run `call`; everything it prints goes to `log`. Whatever it does becomes a Result, but for an interrupt."""

    def close(self) -> None:
        """Give back what the executor holds. It may be used again."""


def outcome_of(call: Callable[[], Any]) -> Result:
    """Run `call`, and tell its exceptions apart. Each one's traceback is printed, so that the log has it."""
    try:
        return Result("ok", value=call())
    except Exception as error:
        traceback.print_exc()
        return Result(_status(error), _reason(error), loss=tuple(error.loss) if isinstance(error, Diverged) else ())


def _status(error: Exception) -> str:
    if isinstance(error, NotApplicable):
        return "skipped"
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, RankDied):
        return "crashed"
    return "oom" if _is_out_of_memory(error) else "failed"


def _is_out_of_memory(error: Exception) -> bool:
    """Torch's own type is told by its name, since nothing here imports torch; its CPU allocator has only a text."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "DefaultCPUAllocator" in str(error)


def _reason(error: Exception) -> str:
    if isinstance(error, TnbenchError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    first = str(error).strip().partition("\n")[0]
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return f"{said} ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"
