"""``tnbench export ranks``: the ranks that a case chose, as a table that other cases can take."""

from __future__ import annotations

from pathlib import Path

import typer

from tnbench.cli.options import Chosen
from tnbench.cli.stored import stored_records
from tnbench.cli.terminal import counted
from tnbench.core.errors import UsageError
from tnbench.core.protocols import Ranks
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.store.rank_tables import write_table


def export_ranks(chosen: Chosen, name: str | None, output: Path | None, results: Path, registry: Registry) -> None:
    """Write the rank table `name` from the one record that is chosen, into the folder `ranks` of `results`.

    Raises UsageError where several cases are chosen, where the case has no ranks, and where a table of that name holds
    others.
    """
    if name is None or output is not None:
        raise UsageError("export ranks: got no --table NAME, or an --output; wanted --table NAME, its file is named so")
    tables = {
        record.case: _ranks(record) for record in stored_records(chosen, results, registry) if record.status == "ok"
    }
    if len(tables) != 1:
        raise UsageError(f"export ranks: got {len(tables)} cases that are ok, wanted one; name it by --case ID")
    ((case, ranks),) = tables.items()
    if not ranks:
        raise UsageError(f"export ranks: {case} has no layer with ranks; name a case of another method")
    path = write_table(results, name, ranks)
    typer.echo(f"{path} holds the ranks of {counted(len(ranks), 'layer')} of {case}; use them as rank table[{name}]")


def _ranks(record: Record) -> dict[str, Ranks]:
    """Name of what was factorised at a time, a layer or a group, -> its ranks."""
    return {layer.get("part", layer["name"]): tuple(layer["ranks"]) for layer in record.layers if layer["ranks"]}
