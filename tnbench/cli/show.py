"""``tnbench show``: everything that is recorded about one case."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tnbench.cli.options import RESULTS, Plugins, Results
from tnbench.cli.terminal import number, print_text, stdout
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.metrics import METRICS, Metric
from tnbench.core.record import Record
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.reporting.rows import Row

_BY_CLASS, _PHASES = "top1_by_class", "phases"
_BY_COLLECTIVE = ("words_step", "words_infer", "predicted_words_step")
"""Samples that are no repetitions of one number."""
_IN_A_ROW = 10


def show(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case id; seed 0 where it names none.")],
    log: Annotated[bool, typer.Option("--log", help="Print only what the case's newest run printed.")] = False,
    results: Results = RESULTS,
    plugin: Plugins = None,
) -> None:
    """Show every number of a case's records, its layers, and the command that runs it again."""
    Registry(plugin or ())
    rows = _rows(Case.parse(case), results)
    if log:
        print_text(_log(rows[-1].record, results))
        return
    for row in rows:
        _print(row, stdout())


def _rows(case: Case, results: Path) -> list[Row]:
    """The case's records, oldest first, with what is derived from them and from those that they are compared with."""
    from tnbench.reporting.rows import make_rows
    from tnbench.store.records import Store

    stored = [(record, Case.parse(record.case)) for record in Store(results).records()]
    compared = [record for record, other in stored if (other.model, other.dataset) == (case.model, case.dataset)]
    found = [row for row in make_rows(compared) if row.case == case]
    if not found:
        near = difflib.get_close_matches(case.id, {other.id for _, other in stored}, n=3, cutoff=0)
        hint = f"the nearest are {', '.join(near)}" if near else "nothing is recorded there; start with: tnbench run"
        raise UsageError(f"no record of {case} in {results}; {hint}")
    return found


def _log(record: Record, results: Path) -> str:
    name: str | None = record.provenance.get("log")
    file = results / name if name else None
    if file is None or not file.is_file():
        raise UsageError(f"no log of {record.case}: {file or 'its record names none'}; run it again with --fresh")
    return file.read_text(encoding="utf-8", errors="replace")


def _print(row: Row, console: Console) -> None:
    record = row.record
    console.print(record.case, style="bold")
    console.print(f"{record.status}{f': {record.reason}' if record.reason else ''}")
    for note in record.notes:
        console.print(f"note: {note}")
    for title, table in (
        ("metrics", _metrics(row)),
        ("samples", _samples(record)),
        ("class by class, % right", _classes(record)),
        ("layers", _layers(record)),
        ("layers, each alone", _alone(record)),
        ("settings", _pairs({**record.settings, **record.limits})),
        ("provenance", _pairs({"key": record.key, **record.provenance, "command": None})),
    ):
        if table.row_count:
            console.print(f"\n{title}", style="bold")
            console.print(table)
    if "command" in record.provenance:
        console.print("\nrun it again with", style="bold")
        console.print(record.provenance["command"], soft_wrap=True)
    console.print()


def _grid(*right: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(4):
        table.add_column(justify="right" if column in right else "left")
    return table


def _metrics(row: Row) -> Table:
    """Stored and derived numbers, those that no registry of metrics knows last."""
    table = _grid(1)
    for name in [*METRICS, *sorted(row.record.metrics.keys() - METRICS.keys())]:
        value = row.number(name)
        if value is not None:
            metric = METRICS.get(name, Metric(name, "1", "neither", ""))
            table.add_row(f"  {name}", number(value), "" if metric.unit == "1" else metric.unit, metric.summary)
    return table


def _samples(record: Record) -> Table:
    table = _grid()
    for name, samples in record.samples.items():
        if name == _BY_CLASS:
            continue
        if name == _PHASES:
            table.add_row(f"  {name}", ", ".join(f"{kind} {seconds:.4g} s" for kind, seconds in samples) or "none")
            continue
        if name in _BY_COLLECTIVE:
            table.add_row(f"  {name}", ", ".join(f"{kind} {number(words)}" for kind, words in samples) or "none")
            continue
        for rank, values in enumerate(samples if samples and isinstance(samples[0], list) else [samples]):
            of_rank = f" (rank {rank})" if values is not samples else ""
            table.add_row(f"  {name}{of_rank}", _spread(values))
    return table


def _classes(record: Record) -> Table:
    """The accuracy of each class by its number, ten in a row."""
    table = Table.grid(padding=(0, 2, 0, 0))
    shares = record.samples.get(_BY_CLASS, [])
    for start in range(0, len(shares), _IN_A_ROW):
        row = shares[start : start + _IN_A_ROW]
        table.add_row(f"  {start}", *("–" if share is None else f"{share:.2f}" for share in row))
    return table


def _spread(values: list[float]) -> str:
    if len(values) <= 8:
        return ", ".join(f"{value:.4g}" for value in values) or "none"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{len(values)} samples, least {low:.4g}, median {middle:.4g}, greatest {high:.4g}"


def _layers(record: Record) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "left", "left", "right", "right", "left"):
        table.add_column(justify=justify)
    for layer in record.layers:
        table.add_row(
            f"  {layer['name']}",
            "x".join(map(str, layer["shape"])),
            f"ranks {', '.join(map(str, layer['ranks']))}" if layer["ranks"] else "dense",
            f"{number(layer['params_dense'])} -> {number(layer['params'])}",
            "" if layer["error"] is None else f"error {layer['error']:.4f}",
            layer["note"],
        )
    return table


def _alone(record: Record) -> Table:
    """What was found out about each compressed layer: its costs, what bounds its speed, how far its output is off."""
    found = [(layer["name"], layer["diagnosis"]) for layer in record.layers if layer.get("diagnosis")]
    heads = list(dict.fromkeys(head for _, diagnosis in found for head in diagnosis))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    for _ in heads:
        table.add_column(justify="right")
    if found:
        table.add_row("", *heads, style="dim")
    for name, diagnosis in found:
        values = (diagnosis.get(head, "") for head in heads)
        table.add_row(f"  {name}", *(value if isinstance(value, str) else number(value) for value in values))
    return table


def _pairs(facts: Mapping[str, Any]) -> Table:
    table = _grid()
    for name, value in _flat(facts):
        if value not in (None, ""):
            table.add_row(f"  {name}", str(value))
    return table


def _flat(facts: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in facts.items():
        pairs += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(before + name, value)]
    return pairs
