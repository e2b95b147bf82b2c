"""``tnbench list``: the names that cases, suites and tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from tnbench.cli.options import AsJson, Plugins
from tnbench.cli.terminal import print_json, stdout
from tnbench.core.errors import UsageError, unknown
from tnbench.core.metrics import METRICS
from tnbench.core.registry import Listing, Registry

PLUGIN_SECTIONS = {
    "methods": "method",
    "ranks": "rank",
    "models": "model",
    "datasets": "dataset",
    "trainings": "training",
    "parallel": "parallel",
}
SECTIONS = (*PLUGIN_SECTIONS, "suites", "metrics")


def list_names(
    what: Annotated[
        str | None,
        typer.Argument(metavar="|".join(SECTIONS), help="One section (default: all).", autocompletion=lambda: SECTIONS),
    ] = None,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """List methods, ranks, models, data sets, trainings, parallel modes, suites and metrics."""
    if what is not None and what not in SECTIONS:
        raise UsageError(unknown("listing", what, SECTIONS))
    registry = Registry(plugin or ())
    sections = {section: rows(section, registry) for section in ([what] if what else SECTIONS)}
    if as_json:
        print_json([row for listed in sections.values() for row in listed])
    else:
        _print(sections)


def rows(section: str, registry: Registry) -> list[dict[str, Any]]:
    """One plain dict per name of a section, each with kind, name and summary."""
    if section == "suites":
        from tnbench.sweep.suite import suite_listings

        return [{"kind": "suite", **listing._asdict()} for listing in suite_listings()]
    if section == "metrics":
        return [
            {
                "kind": "metric",
                "name": metric.name,
                "summary": metric.summary,
                "unit": metric.unit,
                "better": metric.better,
                "derived": metric.derived,
            }
            for metric in METRICS.values()
        ]
    return [_plugin_row(listing) for listing in registry.listings(PLUGIN_SECTIONS[section])]


def _plugin_row(listing: Listing) -> dict[str, Any]:
    return {
        "kind": listing.kind,
        "name": listing.name,
        "summary": f"broken: {listing.broken}" if listing.broken else listing.summary,
        "version": listing.version,
        "origin": listing.origin,
        "broken": bool(listing.broken),
    }


def _print(sections: dict[str, list[dict[str, Any]]]) -> None:
    console = stdout()
    width = max((len(row["name"]) for listed in sections.values() for row in listed), default=0)
    for index, (section, listed) in enumerate(sections.items()):
        if index:
            console.print()
        console.print(section, style="bold")
        console.print(_table(listed, width))


def _table(listed: Sequence[dict[str, Any]], width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=width + 2, no_wrap=True)
    table.add_column()
    for row in listed:
        table.add_row(f"  {row['name']}", _described(row))
    return table


def _described(row: dict[str, Any]) -> str:
    if row.get("cost"):
        return f"{row['summary']} Cost: {row['cost']}."
    if row["kind"] != "metric":
        return str(row["summary"])
    better = "" if row["better"] == "neither" else f", {row['better']} is better"
    unit = "no unit" if row["unit"] == "1" else row["unit"]
    return f"{row['summary']} ({unit}{better})"
