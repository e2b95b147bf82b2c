"""Repeated measurements of one cell at one revision of the code: what is compared from commit to commit.

The unit of replication is a launch: one run of a case, whatever its seed, in a process that runs that case once. All
launches of a cell count, not only the newest, so a record that another one superseded in the store is a launch still.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tnbench.core.case import Case
from tnbench.core.record import Record
from tnbench.core.revision import Revision
from tnbench.reporting.context import Context, context_of
from tnbench.store.records import Line


@dataclass(frozen=True)
class Cell:
    """A case at any seed, in one context: what two launches share that may be compared."""

    method: str
    rank: str
    context: Context

    def __str__(self) -> str:
        """The case id without its seed."""
        place = self.context
        return "/".join((self.method, self.rank, place.model, place.dataset, place.training, place.parallel))


def cell_of(record: Record) -> Cell:
    """The cell of a record."""
    case = Case.parse(record.case)
    return Cell(case.method, case.rank, context_of(record, case))


def launches(lines: Iterable[Line]) -> dict[Cell, dict[Revision, list[Record]]]:
    """The records of `tnbench.store.records.Store.record_lines` by cell and revision, oldest first, whatever their end.

    A cell's newest revision comes last. Skipped and interrupted cases are no launches.
    """
    found: dict[Cell, dict[Revision, list[Record]]] = defaultdict(dict)
    for line in lines:
        record: Record = line.value
        if record.status in ("skipped", "interrupted"):
            continue
        revisions, revision = found[cell_of(record)], Revision.of(record.provenance)
        revisions[revision] = [*revisions.pop(revision, []), record]
    return dict(found)
