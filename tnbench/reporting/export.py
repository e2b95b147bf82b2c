"""The tidy table as text for other programs: CSV and JSON. Missing values stay missing in both."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from tnbench.core.record import Record
from tnbench.reporting.rows import Value, columns_of, make_rows


def to_csv(records: Sequence[Record]) -> str:
    """CSV by RFC 4180: a header, lines ended by CR LF, quotes where needed; a missing value is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = columns_of(records)
    writer.writerow(columns)
    writer.writerows([_field(row[column]) for column in columns] for row in make_rows(records))
    return text.getvalue()


def to_json(records: Sequence[Record]) -> str:
    """A JSON list with one object per record; a missing value is null."""
    return json.dumps([dict(row.values) for row in make_rows(records)], indent=1, allow_nan=False) + "\n"


def _field(value: Value) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else str(value)
