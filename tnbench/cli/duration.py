"""Durations as people type and read them."""

from __future__ import annotations

import re

import typer

_DURATION = re.compile(r"(?P<amount>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[smh]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Read ``90``, ``90s``, ``30m`` or ``2h`` as seconds.

    >>> seconds("1.5m")
    90.0

    Raises BadParameter, which Typer reports with the option's name, for anything else and for ``0``.
    """
    match = _DURATION.fullmatch(text.strip())
    value = float(match["amount"]) * _SECONDS[match["unit"]] if match else 0.0
    if value <= 0:
        raise typer.BadParameter(f"got {text!r}, wanted seconds above 0, or minutes or hours such as 30m or 2h")
    return value


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
