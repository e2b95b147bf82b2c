"""``tnbench report``: write the page from stored records."""

from __future__ import annotations

import typer

from tnbench.cli.options import REPORTS, RESULTS, Chosen, Plugins, Reports, Results
from tnbench.cli.page import Titled, write_page
from tnbench.cli.stored import stored_records
from tnbench.cli.taking import taking
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings


@taking(Chosen)
def report(chosen: Chosen, results: Results = RESULTS, reports: Reports = REPORTS, plugin: Plugins = None) -> None:
    """Write the page from stored records: REPORTS/SUITE/index.html, or REPORTS/cases/index.html without a suite."""
    registry = Registry(plugin or ())
    records = stored_records(chosen, results, registry)
    typer.echo(write_page(records, _title(chosen.suite, registry), reports))


def _title(suite: str | None, registry: Registry) -> Titled:
    from tnbench.sweep.suite import Suite, load_suite

    if suite is not None:
        return load_suite(suite, registry)
    return Suite("cases", "Stored records, whatever suite they come from.", Settings(), Limits(), ())
