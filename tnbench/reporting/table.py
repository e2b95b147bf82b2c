"""The tidy table: one row per record as a pandas DataFrame, with every derived column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tnbench.core.metrics import METRICS
from tnbench.core.record import Record
from tnbench.reporting.rows import RATIOS, SAMPLED, columns_of, make_rows

if TYPE_CHECKING:
    import pandas as pd


def tidy(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record: axes, seed, status, settings (``set_``), metrics, intervals, provenance.

    Ratios, drops and speedups are computed here from what is stored; what is missing is NaN.
    """
    import pandas as pd

    rows = make_rows(records)
    columns = columns_of(records)
    frame = pd.DataFrame([dict(row.values) for row in rows], columns=columns)
    return frame.astype({name: float for name in columns if _is_number(name)})


def _is_number(column: str) -> bool:
    stem, _, end = column.rpartition("_")
    return column in METRICS or (stem in (*SAMPLED, *RATIOS) and end in ("low", "high", "n"))
