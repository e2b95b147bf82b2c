"""The summary after a run, for the terminal: readable at 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tnbench.core.record import STATUSES, Record
from tnbench.reporting import formatting
from tnbench.reporting.context import titles
from tnbench.reporting.points import Point, by_context, make_points
from tnbench.reporting.rows import Row, make_rows
from tnbench.reporting.scaling import Scaling, make_scalings

_COLOURS = {"ok": "green", "skipped": "yellow", "interrupted": "yellow"}
_BAD = "red"
_BUSY_MARK = "*"


def summary_table(records: Sequence[Record]) -> RenderableType:
    """One table per model, dataset and training (and settings, where they differ), the speedups, and the statuses."""
    if not records:
        return Text("no records yet")
    rows = make_rows(records)
    points = make_points(rows)
    contexts = by_context(points)
    names = titles(contexts)
    parts: list[RenderableType] = [_accuracy_table(names[context], found) for context, found in contexts.items()]
    scalings = make_scalings(points)
    if scalings:
        parts.append(_speedup_table(scalings))
    elif any(row.ok and "fixed_step_ms" in row.record.metrics for row in rows):
        parts.append(
            Text("no speedup without its base: run the same cases with threads:1 in the place of their parallel part")
        )
    spaced = [part for table in parts for part in (table, Text())]
    return Group(*spaced, _statuses(rows), *_reasons(rows))


def _table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, header_style="dim", pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _accuracy_table(title: str, points: Sequence[Point]) -> Table:
    numeric = ("compression", "budget %", "top-1 %", "drop", "MACs ÷", "latency ms", "train s", "n", "not ok")
    table = _table(title, ("method", "rank"), numeric)
    for point in points:
        table.add_row(*map(Text, _accuracy_cells(point)), style="dim" if not point.ok else "")
    return table


def _accuracy_cells(point: Point) -> list[str]:
    latency = point.timing("forward_ms")
    lost = len(point.rows) - len(point.ok)
    return [
        point.method,
        point.rank,
        formatting.times(point.mean("compression")),
        formatting.gap(point.mean("budget_gap"), mark="≠"),
        formatting.plus_minus(point.over_seeds("top1")),
        formatting.points(point.mean("drop")),
        formatting.times(point.mean("mac_reduction")),
        formatting.significant(latency.value if latency else None),
        formatting.significant(point.mean("train_s")),
        str(len(point.ok)),
        str(lost) if lost else "",
    ]


def _speedup_table(scalings: Sequence[Scaling]) -> Table:
    numeric = ("parallel", "cores", "step ms", "speedup", "95 %", "n", "efficiency", "same\ncores")
    table = _table("Speed of a training step", ("method", "rank", "model"), numeric)
    said = []
    if any(scaling.speedup and scaling.speedup.launches == 1 for scaling in scalings):
        said.append("n = 1: the interval is within one launch")
    if any(scaling.busy for scaling in scalings):
        said.append(f"{_BUSY_MARK} others used the machine meanwhile, so this says little")
    table.caption, table.caption_justify = Text("\n".join(said), style="dim"), "left"
    for scaling in scalings:
        cells = [Text(cell) for cell in _speedup_cells(scaling)]
        table.add_row(*cells, style="yellow" if scaling.note else "")
    return table


def _speedup_cells(scaling: Scaling) -> list[str]:
    point, speedup = scaling.point, scaling.speedup
    told = [formatting.MISSING, "", ""]
    if scaling.note:
        told = ["invalid", "too many threads", ""]
    elif speedup:
        told = [formatting.times(speedup.value), formatting.ends(speedup), str(speedup.launches)]
    return [
        point.method,
        point.rank,
        point.context.model,
        scaling.parallel + (f" {_BUSY_MARK}" if scaling.busy else ""),
        str(scaling.cores or formatting.MISSING),
        formatting.significant(scaling.step_ms.value if scaling.step_ms else None),
        *told,
        formatting.significant(scaling.efficiency, 2),
        formatting.times(scaling.same_cores.value if scaling.same_cores else None),
    ]


def _statuses(rows: Sequence[Row]) -> Text:
    line = Text(f"{formatting.counted(len(rows), 'case')}: ")
    found = Counter(row.record.status for row in rows)
    parts = [Text(f"{found[status]} {status}", _COLOURS.get(status, _BAD)) for status in STATUSES if found[status]]
    return line + Text(", ").join(parts)


def _reasons(rows: Sequence[Row]) -> list[RenderableType]:
    """Each reason once, with the case that gave it first and how many more did."""
    cases: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not row.ok:
            cases.setdefault((row.record.status, row.record.reason or "no reason was recorded"), []).append(row.case.id)
    lines: list[RenderableType] = []
    for (status, reason), ids in cases.items():
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        text = Text.assemble((status, _COLOURS.get(status, _BAD)), f"  {ids[0]}{more}\n{reason.strip()}")
        lines.append(Padding(text, (0, 0, 0, 2)))
    return lines
