"""``tnbench report``: write the page from stored records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.options import REPORTS, RESULTS, Chosen, Plugins, Reports, Results
from tnbench.cli.page import write_page
from tnbench.cli.stored import stored_records
from tnbench.cli.taking import taking
from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings

if TYPE_CHECKING:
    from tnbench.sweep.suite import Suite


@taking(Chosen)
def report(chosen: Chosen, results: Results = RESULTS, reports: Reports = REPORTS, plugin: Plugins = None) -> None:
    """Write the page from stored records: REPORTS/SUITE/index.html, or REPORTS/cases/index.html without a suite."""
    from tnbench.store.records import Store

    registry = Registry(plugin or ())
    records = stored_records(chosen, results, registry)
    warn_of_damage(Store(results))
    suite = _suite(chosen.suite, registry)
    typer.echo(write_page(_with_skips(records, suite, chosen, registry), suite, reports))


def _suite(name: str | None, registry: Registry) -> Suite:
    from tnbench.sweep.suite import Suite, load_suite

    if name is not None:
        return load_suite(name, registry)
    return Suite("cases", "Stored records, whatever suite they come from.", Settings(), Limits(), ())


def _with_skips(records: Sequence[Record], suite: Suite, chosen: Chosen, registry: Registry) -> list[Record]:
    """The records, and one for each chosen case that the suite skips, which stands for that case as it does in run."""
    from tnbench.sweep.select import Selection
    from tnbench.sweep.skips import skip_records

    selection, named = Selection.parse(chosen.select, registry), {Case.parse(text).id for text in chosen.case or ()}
    skips = {
        record.case: record
        for record in skip_records(suite)
        if selection.matches(Case.parse(record.case)) and (not named or record.case in named)
    }
    return [*(record for record in records if record.case not in skips), *skips.values()]
