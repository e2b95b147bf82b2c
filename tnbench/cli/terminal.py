"""Where the verbs print: colours and wrapping on a terminal, plain unwrapped text in a file or a pipe."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

_WIDE = 200


def stdout() -> Console:
    """A console on standard output. In a file, lines are as wide as their text needs and hold no escape codes."""
    return _plain_unless_terminal(Console(highlight=False, markup=False, emoji=False))


def stderr() -> Console:
    """The same on standard error."""
    return _plain_unless_terminal(Console(highlight=False, markup=False, emoji=False, stderr=True))


def print_json(value: Any) -> None:
    """Write `value` as JSON to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def number(value: float) -> str:
    """A number for people: whole ones with thousands apart, others with six significant digits.

    >>> number(269722.0), number(0.1234567)
    ('269,722', '0.123457')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"


def _plain_unless_terminal(console: Console) -> Console:
    if not console.is_terminal:
        console.width = _WIDE
    return console
