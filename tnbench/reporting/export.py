"""The tidy table as text for other programs: CSV and JSON. Missing values stay missing in both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tnbench.core.record import Record
from tnbench.reporting.table import tidy

if TYPE_CHECKING:
    import pandas as pd


def to_csv(records: Sequence[Record]) -> str:
    """CSV by RFC 4180: a header, lines ended by CR LF, quotes where needed; a missing value is an empty field."""
    frame = tidy(records).convert_dtypes()
    return frame.apply(_truth_in_words).to_csv(index=False, lineterminator="\r\n")


def to_json(records: Sequence[Record]) -> str:
    """A JSON list with one object per record; a missing value is null."""
    frame = tidy(records).convert_dtypes().astype(object)
    return json.dumps(frame.where(frame.notna(), None).to_dict("records"), indent=1, allow_nan=False) + "\n"


def _truth_in_words(column: pd.Series) -> pd.Series:
    return column.map({True: "true", False: "false"}) if column.dtype == "boolean" else column
