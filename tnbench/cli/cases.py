"""The cases of a suite for front ends that take them one by one: run when their records are asked for, or replayed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tnbench.cli.options import Asked
from tnbench.cli.plan import in_words
from tnbench.cli.progress import Lines
from tnbench.cli.request import to_request
from tnbench.cli.terminal import stdout
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.sweep.on_demand import OnDemand
    from tnbench.sweep.replay import Replay


@dataclass(frozen=True)
class Cases:
    """Where records come from, and are kept; `words` tell what is going to be run, `device` where it runs."""

    source: OnDemand | Replay
    results: Path
    words: str
    device: str = "cpu"


def measured(asked: Asked, *, data_root: Path, results: Path, plugins: Iterable[Path]) -> Cases:
    """What has no valid record runs when that is asked for, as `tnbench run` has it. Raises UsageError."""
    from tnbench.store.records import Store
    from tnbench.sweep.executors.local import LocalExecutor
    from tnbench.sweep.on_demand import OnDemand
    from tnbench.sweep.plan import make_plan

    request, registry, store = (
        to_request(asked, data_root=data_root, results=results),
        Registry(plugins),
        Store(results),
    )
    plan = make_plan(request, registry, store)
    if any(entry.action == "run" for entry in plan.entries):
        store.check_writable()
    source = OnDemand(plan, request, store=store, registry=registry, executor=LocalExecutor(), listener=Lines(stdout()))
    return Cases(source, results, in_words(plan), plan.settings.device)


def replayed(asked: Asked, *, results: Path, plugins: Iterable[Path]) -> Cases:
    """Stored records, whatever data and machine they are of. Raises UsageError."""
    from tnbench.store.records import Store
    from tnbench.sweep.replay import Replay

    request = to_request(asked, data_root=Path(), results=results)
    source = Replay(request, Registry(plugins), Store(results))
    there = sum(not why for why in source.skips.values())
    return Cases(source, results, f"{request.suite} replayed: {there} of {len(source.skips)} cases have a record")
