"""Where the verbs print: colours and wrapping on a terminal, plain unwrapped text in a file or a pipe."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from typing import Any, TextIO, cast

from rich.console import Console

_WIDE = 1000


def stdout() -> Console:
    """A console on standard output."""
    return _console(sys.stdout)


def stderr() -> Console:
    """A console on standard error."""
    return _console(sys.stderr)


def print_json(value: Any) -> None:
    """Write `value` as JSON to standard output."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_text(text: str) -> None:
    """Write `text` as it is to standard output, at once: a reader that has left is met here and not at the exit."""
    sys.stdout.write(text)
    sys.stdout.flush()


def number(value: float) -> str:
    """A number for people: whole ones with thousands apart, others with six significant digits.

    >>> number(269722.0), number(0.1234567)
    ('269,722', '0.123457')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun.

    >>> counted(1, "case"), counted(2, "case"), counted(2, "launch", "launches")
    ('1 case', '2 cases', '2 launches')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _console(stream: TextIO) -> Console:
    console = Console(file=_own(stream) if stream.isatty() else stream, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(
        file=cast(TextIO, _Trimmed(stream)), width=_WIDE, color_system=None, highlight=False, markup=False, emoji=False
    )


def _own(stream: TextIO) -> TextIO:
    """The terminal by a descriptor of our own: a case in this process has its output sent to a log, but not the bar."""
    return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, buffering=1)


class _Trimmed(io.TextIOBase):
    """Passes text on without the blanks that tables leave at the ends of lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(re.sub(r" +(?=\n)", "", text))

    def flush(self) -> None:
        self._stream.flush()
