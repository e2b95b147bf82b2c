"""``tnbench export``: the tidy table, derived columns included, as CSV or JSON."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tnbench.cli.options import RESULTS, Chosen, Plugins, Results
from tnbench.cli.stored import stored_records
from tnbench.cli.taking import taking
from tnbench.cli.terminal import print_text
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry


class Form(StrEnum):
    """What the table is written as."""

    csv = "csv"
    json = "json"


@taking(Chosen)
def export(
    chosen: Chosen,
    form: Annotated[Form, typer.Argument(metavar="csv|json", help="What the table is written as.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: standard output).")
    ] = None,
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Write the table of records with its derived columns, one row per record."""
    from tnbench.reporting.export import to_csv, to_json

    records = stored_records(chosen, results, Registry(plugin or ()))
    text = to_csv(records) if form is Form.csv else to_json(records)
    if output is None:
        print_text(text)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(
            f"--output: {output} cannot be written ({error.strerror}); give a file in a folder of yours"
        ) from None
