"""Which stored records a verb is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tnbench.cli.options import Chosen
from tnbench.cli.request import DEFAULT_SUITE
from tnbench.core.case import Case
from tnbench.core.errors import UsageError
from tnbench.core.record import Record

if TYPE_CHECKING:
    from tnbench.core.registry import Registry
    from tnbench.store.records import Line
    from tnbench.sweep.plan import Entry

Found = TypeVar("Found")


def stored_records(chosen: Chosen, results: Path, registry: Registry) -> list[Record]:
    """The live records of the named cases, else of the suite's (at any seed), else all; those that fit the selection.

    Raises UsageError when none is left.
    """
    from tnbench.store.records import Store

    fits = _fits(chosen, registry)
    return _some([record for record in Store(results).records() if fits(record)], results)


def stored_lines(chosen: Chosen, results: Path, registry: Registry) -> list[Line]:
    """The same as lines of the store, those of older launches among them. Raises UsageError when none is left."""
    from tnbench.store.records import Store

    return _some(chosen_lines(chosen, Store(results).record_lines(), registry), results)


def chosen_lines(chosen: Chosen, lines: Iterable[Line], registry: Registry) -> list[Line]:
    """Those lines of records that are chosen."""
    fits = _fits(chosen, registry)
    return [line for line in lines if fits(line.value)]


def left_out_of_suite(asked: Chosen, planned: Sequence[Entry], results: Path, registry: Registry) -> list[Record]:
    """Stored records of the suite's cases that `--select` or `--case` left out; its page goes on showing them."""
    if not (asked.case or asked.select) or (asked.case and not asked.suite):
        return []
    cases = {entry.case.id for entry in planned}
    with suppress(UsageError):  # nothing is stored
        found = stored_records(Chosen(suite=asked.suite or DEFAULT_SUITE), results, registry)
        return [record for record in found if record.case not in cases]
    return []


def _some(found: list[Found], results: Path) -> list[Found]:
    if not results.is_dir():
        raise UsageError(f"there is no folder {results}; name the folder of the records: --results DIR")
    if not found:
        raise UsageError(f"no record in {results} fits; see what is there with: tnbench export csv --results {results}")
    return found


def _fits(chosen: Chosen, registry: Registry) -> Callable[[Record], bool]:
    from tnbench.sweep.select import Selection

    meant, selection = _meant(chosen, registry), Selection.parse(chosen.select, registry)

    def fits(record: Record) -> bool:
        case = Case.parse(record.case)
        return meant(case) and selection.matches(case)

    return fits


def _meant(chosen: Chosen, registry: Registry) -> Callable[[Case], bool]:
    if chosen.case:
        cases = {Case.parse(text) for text in chosen.case}
        return cases.__contains__
    if chosen.suite is None:
        return lambda case: True
    from tnbench.sweep.suite import load_suite

    of_suite = {replace(cell.case, seed=0) for cell in load_suite(chosen.suite, registry).cells}
    return lambda case: replace(case, seed=0) in of_suite
