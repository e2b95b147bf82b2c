"""``tnbench drop``: take records or baselines back. They stay in their files, with a further line that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tnbench.cli.options import RESULTS, Plugins, Results
from tnbench.cli.terminal import counted
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.store.records import Store


def drop(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept beside the records.")],
    select: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Which records, such as 'method=cp rank=x4' (* and ? are wild).")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="MODEL/DATASET", help="The baselines of a model, trained and imported ones.")
    ] = None,
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Take records or baselines back, with a reason. The next run of their cases runs them again."""
    from tnbench.store.records import Store

    registry, store = Registry(plugin or ()), Store(results)
    if (select is None) == (baseline is None):
        raise UsageError("drop: wanted either --select, which takes back records, or --baseline")
    if select is not None:
        typer.echo(f"{counted(_drop_records(store, select, reason, registry), 'record')} taken back")
    if baseline is not None:
        typer.echo(f"{counted(_drop_baselines(store, baseline, reason), 'baseline')} taken back")


def _drop_records(store: Store, select: str, reason: str, registry: Registry) -> int:
    from tnbench.sweep.select import Selection

    selection = Selection.parse(select, registry)
    if not selection.clauses:
        raise UsageError("--select: got nothing, wanted which records to take back; 'method=*' takes back all")
    records = [record for record in store.records() if selection.matches_exactly(Case.parse(record.case))]
    if not records:
        raise UsageError(f"--select: no record in {store.root} fits {select!r}, so nothing was taken back")
    store.check_writable()
    return store.drop(records, reason)


def _drop_baselines(store: Store, text: str, reason: str) -> int:
    stored = sorted({f"{baseline.model}/{baseline.dataset}" for baseline in store.baselines()})
    if text not in stored:
        there = f"there are: {', '.join(stored)}" if stored else "there is none"
        raise UsageError(f"--baseline: no baseline in {store.root} is of {text!r}; {there}")
    store.check_writable()
    model, _, dataset = text.partition("/")
    return store.drop_baselines(model, dataset, reason)
