"""How the numbers came about: the quantities, the settings and the machines behind a set of records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tnbench.core.metrics import METRICS, Metric
from tnbench.core.record import Record
from tnbench.reporting.rows import Row

_NO_FACTS = ("identity", "command", "log", "suite", "attempt", "baseline", "oversubscribed", "resumed", "wall_s")
"""What provenance says of one record rather than of how all were measured."""

_MOST_VALUES = 3


def metrics_shown(rows: Sequence[Row]) -> list[Metric]:
    """The declared quantities that some row has, in the registry's order."""
    return [metric for metric in METRICS.values() if any(row.number(metric.name) is not None for row in rows)]


def settings_groups(records: Iterable[Record]) -> tuple[list[str], list[list[str]]]:
    """Distinct settings side by side: their headings, and one line per setting (its name, then its values)."""
    groups: dict[str, int] = {}
    for record in records:
        text = json.dumps(record.settings, sort_keys=True)
        groups[text] = groups.get(text, 0) + 1
    parsed = [json.loads(text) for text in groups]
    names = list(dict.fromkeys(name for settings in parsed for name in settings))
    lines = [[name, *(_text(settings.get(name)) for settings in parsed)] for name in names]
    return [f"{count} records" if count > 1 else "1 record" for count in groups.values()], lines


def facts(records: Iterable[Record]) -> list[tuple[str, str]]:
    """What provenance says, each fact once: its name and the values that occur."""
    values: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in _flat(record.provenance):
            values.setdefault(name, {})[_text(value)] = None
    return [(name, _span(found) if name == "started" else _few(list(found))) for name, found in values.items()]


def _flat(provenance: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in provenance.items():
        if name in _NO_FACTS:
            continue
        if isinstance(value, dict):
            yield from ((f"{name.replace('_', ' ')}: {inner}", text) for inner, text in value.items())
        else:
            yield name.replace("_", " "), value


def _span(times: Iterable[str]) -> str:
    first, last = min(times), max(times)
    return first if first == last else f"{first} to {last}"


def _few(found: Sequence[str]) -> str:
    more = f" and {len(found) - _MOST_VALUES} more" if len(found) > _MOST_VALUES else ""
    return ", ".join(found[:_MOST_VALUES]) + more


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
