"""``tnbench report``: write the page from stored records."""

from __future__ import annotations

from tnbench.cli.options import REPORTS, RESULTS, Chosen, Plugins, Reports, Results, taking
from tnbench.cli.stored import stored_records
from tnbench.core.registry import Registry


@taking(Chosen)
def report(
    chosen: Chosen, results: Results = RESULTS, reports: Reports = REPORTS, plugin: Plugins = None
) -> None:
    """Write the page from stored records: REPORTS/SUITE/index.html, or REPORTS/cases/index.html without a suite."""
    from tnbench.reporting.page import write_page
    from tnbench.sweep.suite import load_suite

    registry = Registry(plugin or ())
    records = stored_records(chosen, results, registry)
    name, summary, expected = "cases", "Every stored record that was asked for.", None
    if chosen.suite is not None:
        suite = load_suite(chosen.suite, registry)
        name, summary = suite.name, suite.summary
    print(write_page(records, name=name, summary=summary, out=reports / name, expected=expected))
