"""``tnbench export``: the tidy table, derived columns included, as CSV or JSON; or the records themselves."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tnbench.cli.options import RESULTS, Chosen, Plugins, Results
from tnbench.cli.stored import stored_lines, stored_records
from tnbench.cli.taking import taking
from tnbench.cli.terminal import print_text
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry


class Form(StrEnum):
    """What is written: the table as csv or json, whole records as lines, asv's files, or the ranks of one case."""

    csv = "csv"
    json = "json"
    records = "records"
    asv = "asv"
    ranks = "ranks"


@taking(Chosen)
def export(
    chosen: Chosen,
    form: Annotated[
        Form,
        typer.Argument(
            metavar="csv|json|records|asv|ranks", help="A table, whole records, results for asv, or a case's ranks."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="File to write (default: standard output); of asv the folder of results (default: asv.conf.json's).",
        ),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(metavar="REV", help="asv: the commit of records that name none (an installed tnbench)."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="ranks: name of the rank table, which the rank table[NAME] then reads."),
    ] = None,
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Write the table of records with its derived columns, one row per record; or the records, lossless.

    The form records holds every launch with its samples, as JSON Lines: tnbench check --against reads it.
    The form asv adds what was measured at commits to the results of asv: tnbench history shows them.
    The form ranks keeps the ranks that one case chose, as the rank table[NAME] for other cases.
    """
    if form is Form.ranks:
        from tnbench.cli.export_ranks import export_ranks

        export_ranks(chosen, table, output, results, Registry(plugin or ()))
        return
    if table is not None:
        raise UsageError(f"--table: got {table!r} with the form {form}, wanted the form ranks; leave it out")
    if form is Form.asv:
        from tnbench.cli.export_asv import export_asv

        export_asv(chosen, output, commit, results, Registry(plugin or ()))
        return
    if commit is not None:
        raise UsageError(f"--commit: got {commit!r} with the form {form}, wanted the form asv; leave it out")
    text = _text(form, chosen, results, Registry(plugin or ()))
    if output is None:
        print_text(text)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(
            f"--output: {output} cannot be written ({error.strerror}); give a file in a folder of yours"
        ) from None


def _text(form: Form, chosen: Chosen, results: Path, registry: Registry) -> str:
    if form is Form.records:
        from tnbench.store.records import text_of

        return "".join(map(text_of, stored_lines(chosen, results, registry)))
    from tnbench.reporting.export import to_csv, to_json

    return (to_csv if form is Form.csv else to_json)(stored_records(chosen, results, registry))
