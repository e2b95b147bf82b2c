"""From the options of ``plan`` and ``run`` to the request that the plan is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnbench.cli.device import resolve_device
from tnbench.cli.options import Asked
from tnbench.core.errors import UsageError, unknown
from tnbench.core.record import STATUSES
from tnbench.core.settings import Settings

if TYPE_CHECKING:
    from tnbench.sweep.plan import Request

DEFAULT_SUITE = "quick"


def to_request(asked: Asked, *, data_root: Path, results: Path) -> Request:
    """Check what needs no plug-in; the plan checks the rest. Raises UsageError."""
    from tnbench.sweep.plan import Request

    cases = tuple(asked.case or ())
    return Request(
        suite=asked.suite or (None if cases else DEFAULT_SUITE),
        cases=cases,
        select=asked.select,
        seeds=asked.seeds,
        overrides=overrides(asked),
        timeout_s=asked.timeout,
        fresh=asked.fresh,
        rerun=statuses(asked.rerun),
        data_root=data_root,
        results=results,
    )


def overrides(asked: Asked) -> dict[str, Any]:
    """The settings that were given, by the names of `Settings`."""
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {name: value for name in names if (value := getattr(asked, name)) is not None}
    if asked.device is not None:
        given["device"] = resolve_device(asked.device)
    return given


def statuses(text: str | None) -> tuple[str, ...]:
    """``failed,timeout`` as a tuple. Raises UsageError with the nearest status."""
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    for name in names:
        if name not in STATUSES:
            raise UsageError(f"--rerun: {unknown('status', name, STATUSES)}")
    return names
