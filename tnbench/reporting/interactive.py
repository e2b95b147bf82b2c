"""The interactive plot: plain traces for plotly.js, with every axis that the records can fill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tnbench.reporting import formatting
from tnbench.reporting.context import Context
from tnbench.reporting.figures.axes import tick_label
from tnbench.reporting.figures.style import Look
from tnbench.reporting.points import Point, by_context, curves
from tnbench.reporting.rows import Row

_X_AXES = (("params", "parameters"), ("macs", "MACs per picture"), ("forward_ms", "latency at batch 1 (ms)"))
_Y_AXES = (("top1", "top-1 accuracy (%)"), ("drop", "accuracy drop (points)"), ("throughput", "pictures per second"))
_Y_AXES_LATER = (
    ("forward_ms", "latency at batch 1 (ms)"),
    ("train_s", "training time (s)"),
    ("ece", "calibration error (points)"),
    ("generalisation_gap", "train − test (points)"),
    ("train_energy_j", "training energy (J)"),
    ("time_to_acc_s", "time to dense − 1 point (s)"),
)
_COLUMNS = tuple(dict.fromkeys(column for column, _ in (*_X_AXES, *_Y_AXES, *_Y_AXES_LATER)))

CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def plot_data(points: Sequence[Point], looks: Mapping[str, Look], names: Mapping[Context, str]) -> dict[str, Any]:
    """Traces with their `columns`, the axes to choose from and the contexts to show; JSON types only.

    Each curve is two traces that the legend shows and hides together: a line through the means over seeds, and the
    records, whose hover text begins with the case id.
    """
    contexts = by_context(point for point in points if point.ok)
    traces: list[dict[str, Any]] = []
    for place, (context, found) in enumerate(contexts.items()):
        for method, curve in curves(found).items():
            name = {"name": escape(method), "full_name": escape(f"{method} · {names[context]}")}
            traces += _curve(curve, looks[method], name, place)
    filled = {column for trace in traces for column in _COLUMNS if any(v is not None for v in trace["columns"][column])}
    drawable = {column for column, _ in _X_AXES if _above_zero(column, traces)}
    return {
        "traces": traces,
        "x": [_x_axis(column, label, traces) for column, label in _X_AXES if column in drawable],
        "y": [{"column": column, "label": label} for column, label in (*_Y_AXES, *_Y_AXES_LATER) if column in filled],
        "contexts": [names[context] for context in contexts],
        "config": CONFIG,
    }


def _x_axis(column: str, label: str, traces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A logarithmic axis with 1-2-5 ticks; plotly labels the 2 and the 5 of a decade by their digit alone."""
    values = _above_zero(column, traces)
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in (1, 2, 5)]
    return {"column": column, "label": label, "ticks": ticks, "tick_labels": [tick_label(tick) for tick in ticks]}


def _above_zero(column: str, traces: Sequence[Mapping[str, Any]]) -> list[float]:
    """What a logarithmic axis can show; plotly leaves the rest out."""
    return [value for trace in traces for value in trace["columns"][column] if value is not None and value > 0]


def _curve(curve: Sequence[Point], look: Look, name: Mapping[str, str], place: int) -> list[dict[str, Any]]:
    rows = [row for point in curve for row in point.ok]
    common = {"type": "scatter", **name, "legendgroup": f"{place} {name['name']}", "context": place}
    line = {
        **common,
        "mode": "lines",
        "showlegend": False,
        "hoverinfo": "skip",
        "line": {"color": look.colour, "width": 1.5},
        "columns": {column: [point.mean(column) for point in curve] for column in _COLUMNS},
    }
    records = {
        **common,
        "mode": "markers",
        "marker": {"color": look.colour, "symbol": look.symbol, "size": 9, "line": {"color": "#fff", "width": 1}},
        "text": [_hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "columns": {column: [row.number(column) for row in rows] for column in _COLUMNS},
    }
    return [line, records]


def _hover(row: Row) -> str:
    top1, latency = row.number("top1"), row.number("forward_ms")
    facts = [
        formatting.times(row.number("compression")) + " compression",
        formatting.count(row.number("params")) + " parameters",
        formatting.count(row.number("macs")) + " MACs",
        "" if top1 is None else f"top-1 {top1:.2f} %",
        "" if latency is None else f"latency {formatting.significant(latency)} ms",
    ]
    return f"<b>{escape(row.case.id)}</b><br>" + "<br>".join(fact for fact in facts if fact)
