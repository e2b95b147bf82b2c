"""Which stored records a verb is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tnbench.cli.options import Chosen
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.record import Record

if TYPE_CHECKING:
    from tnbench.core.registry import Registry


def stored_records(chosen: Chosen, results: Path, registry: Registry) -> list[Record]:
    """The live records of the suite's and the named cases (all, where neither is given) that fit the selection.

    Raises UsageError when none is left.
    """
    from tnbench.store.records import Store
    from tnbench.sweep.select import Selection

    selection = Selection.parse(chosen.select, registry)
    named = _named(chosen, registry)
    found = [
        record
        for record in Store(results).records()
        if (named is None or record.case in named) and selection.matches(Case.parse(record.case))
    ]
    if not found:
        raise UsageError(f"no record in {results} fits; see what is there with: tnbench export csv --results {results}")
    return found


def _named(chosen: Chosen, registry: Registry) -> set[str] | None:
    """Ids of the suite's cases and of the named ones; None stands for every case."""
    if chosen.suite is None and not chosen.case:
        return None
    named = {Case.parse(text).id for text in chosen.case or ()}
    if chosen.suite is not None:
        from tnbench.sweep.suite import load_suite

        named |= {cell.case.id for cell in load_suite(chosen.suite, registry).cells}
    return named
