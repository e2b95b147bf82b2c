"""Cases that a suite names and nobody runs: excluded ones, and ones that mean nothing. Their records are not stored."""

from __future__ import annotations

import dataclasses

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.settings import Limits, Settings, record_key
from tnbench.sweep.device import resolve_device
from tnbench.sweep.names import why_meaningless
from tnbench.sweep.suite import Cell, Suite


def why_skipped(cell: Cell) -> str:
    """Why the cell's case is not run; empty if it may be."""
    return cell.excluded or why_meaningless(cell.case)


def skip_record(case: Case, reason: str, settings: Settings, limits: Limits) -> Record:
    """The record that stands for a case that is not run."""
    key = record_key(case, settings)
    return Record(case.id, key, "skipped", reason, settings=settings.as_json(), limits=dataclasses.asdict(limits))


def skip_records(suite: Suite) -> list[Record]:
    """One record for each case of the suite that is not run, in its order."""
    settings = suite.settings.changed({"device": resolve_device(suite.settings.device)})
    return [
        skip_record(cell.case, reason, settings, suite.limits) for cell in suite.cells if (reason := why_skipped(cell))
    ]
