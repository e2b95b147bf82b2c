"""``tnbench drop``: take records back. They stay in their files, with a further line that says why."""

from __future__ import annotations

from typing import Annotated

import typer

from tnbench.cli.options import RESULTS, Plugins, Results
from tnbench.cli.terminal import counted
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry


def drop(
    select: Annotated[
        str, typer.Option(metavar="TEXT", help="Which records, such as 'method=cp rank=x4' (* and ? are wild).")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept beside the records.")],
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Take records back, with a reason. The next run of their cases runs them again."""
    from tnbench.store.records import Store
    from tnbench.sweep.select import Selection

    selection, store = Selection.parse(select, Registry(plugin or ())), Store(results)
    if not selection.clauses:
        raise UsageError("--select: got nothing, wanted which records to take back; 'method=*' takes back all")
    records = [record for record in store.records() if selection.matches_exactly(Case.parse(record.case))]
    if not records:
        raise UsageError(f"--select: no record in {results} fits {select!r}, so nothing was taken back")
    store.check_writable()
    typer.echo(f"{counted(store.drop(records, reason), 'record')} taken back")
