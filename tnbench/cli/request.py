"""From the options of ``plan`` and ``run`` to the request that the plan is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnbench.cli.options import Asked, Tuned
from tnbench.core.settings import Settings

if TYPE_CHECKING:
    from tnbench.sweep.plan import Request

DEFAULT_SUITE = "quick"


def to_request(asked: Asked, *, data_root: Path, results: Path) -> Request:
    """What was asked for, unchecked: making the plan checks it. Without a suite and a case, the suite is quick."""
    from tnbench.sweep.plan import Request

    cases = tuple(asked.case or ())
    return Request(
        suite=asked.suite or (None if cases else DEFAULT_SUITE),
        cases=cases,
        select=asked.select,
        seeds=asked.seeds,
        overrides=overrides(asked),
        timeout_s=asked.timeout,
        checkpoint_s=asked.checkpoint_every,
        fresh=asked.fresh,
        rerun=tuple(asked.rerun.split(",")) if asked.rerun else (),
        launches=asked.launches,
        data_root=data_root,
        results=results,
    )


def overrides(asked: Tuned) -> dict[str, Any]:
    """The settings that were given, by the names of `Settings`."""
    names = [field.name for field in dataclasses.fields(Settings)]
    return {name: value for name in names if (value := getattr(asked, name)) is not None}
