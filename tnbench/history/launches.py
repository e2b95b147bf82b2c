"""Repeated measurements of one case at one revision of the code: what is compared from commit to commit.

The unit of replication is a launch: one run of a case, whatever its seed, in a process that runs that case once. All
launches of a subject count, not only the newest: a record that another one superseded in the store is a launch still.
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
class Subject:
    """A case at any seed, in one context: what two launches share that may be compared."""

    method: str
    rank: str
    context: Context

    def __str__(self) -> str:
        """The case id without its seed."""
        place = self.context
        return "/".join((self.method, self.rank, place.model, place.dataset, place.training, place.parallel))


def subject_of(record: Record) -> Subject:
    """The subject of a record."""
    case = Case.parse(record.case)
    return Subject(case.method, case.rank, context_of(record, case))


def launches(lines: Iterable[Line]) -> dict[Subject, dict[Revision, list[Record]]]:
    """The records of `tnbench.store.records.Store.record_lines` by subject and revision, oldest first, good or bad.

    A subject's newest revision comes last. An interrupted case is no launch; a skipped one is, and it did not go well.
    """
    found: dict[Subject, dict[Revision, list[Record]]] = defaultdict(dict)
    for line in lines:
        record: Record = line.value
        if record.status == "interrupted":
            continue
        revisions, revision = found[subject_of(record)], Revision.of(record.provenance)
        revisions[revision] = [*revisions.pop(revision, []), record]
    return dict(found)
