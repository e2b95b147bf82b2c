"""The page: one HTML file that needs nothing else, and the same records as CSV beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tnbench.core.record import Record
from tnbench.reporting.export import to_csv

_HERE = Path(__file__).parent
_HEAD_LETTERS = 2000


def write_page(records: Sequence[Record], *, name: str, summary: str, out: Path, expected: int | None = None) -> Path:
    """Write ``index.html`` and ``records.csv`` into `out` and return the page's path.

    `expected` is how many cases were planned, where that is known. A page that shows the same records already, drawn
    by the same code, is left alone. Each file appears whole or not at all.
    """
    page, table = out / "index.html", out / "records.csv"
    digest = _digest(records, name, summary, expected)
    if not (table.is_file() and _shows(page, digest)):
        from tnbench.reporting.render import render_page

        out.mkdir(parents=True, exist_ok=True)
        _write(table, to_csv(records))
        _write(page, render_page(records, name=name, summary=summary, expected=expected, digest=digest))
    return page


def _digest(records: Sequence[Record], *rest: object) -> str:
    """What a page depends on: the records, the words given, and the code that draws it."""
    code = sorted(file for file in _HERE.rglob("*") if file.suffix in (".py", ".html", ".css", ".js"))
    found = hashlib.sha256(json.dumps([[record.as_json() for record in records], rest, version("tnbench")]).encode())
    for file in code:
        found.update(file.read_bytes())
    return found.hexdigest()


def _shows(page: Path, digest: str) -> bool:
    if not page.is_file():
        return False
    with page.open(encoding="utf-8") as text:
        return f'content="{digest}"' in text.read(_HEAD_LETTERS)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
