"""``tnbench drop``: take records back. They stay in their files, with a further line that says why."""

from __future__ import annotations

from typing import Annotated

import typer

from tnbench.cli.options import RESULTS, Chosen, Plugins, Results
from tnbench.cli.stored import stored_records
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

    if not reason.strip():
        raise UsageError("--reason: got nothing, wanted why the records are taken back; it is kept beside them")
    records = stored_records(Chosen(select=select), results, Registry(plugin or ()))
    store = Store(results)
    store.check_writable()
    store.drop(records, reason.strip())
    typer.echo(f"{len(records)} record{'s' if len(records) > 1 else ''} taken back")
