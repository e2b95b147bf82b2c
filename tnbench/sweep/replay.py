"""The stored records of a request's cases, whatever machine they are from: nothing runs, and no data is looked at."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.job import Job
from tnbench.core.record import Record
from tnbench.core.registry import Registry
from tnbench.core.settings import Settings
from tnbench.store.records import Store
from tnbench.store.succession import supersedes
from tnbench.sweep.command import option
from tnbench.sweep.device import resolve_device
from tnbench.sweep.plan import Request
from tnbench.sweep.select import Selection
from tnbench.sweep.skips import why_skipped
from tnbench.sweep.suite import Cell, load_suite


class Replay:
    """`skips` says of each case of the request's suite and selection, by its id, why it has no record (empty: it has).

    A record is one with the suite's settings (and of its device, unless that is ``auto``): the newest, but neither a
    bad end nor an interrupted run hides a good one. Making one raises UsageError for all that is wrong in the request.
    """

    def __init__(self, request: Request, registry: Registry, store: Store) -> None:
        if request.suite is None:
            raise UsageError("a replay got no suite, wanted one; give --suite")
        suite = load_suite(request.suite, registry)
        self._records = _counting(store, _settings(suite.settings, request))
        self.skips: Mapping[str, str] = {
            cell.case.id: why_skipped(cell) or ("" if cell.case.id in self._records else _how_to_get(cell, request))
            for cell in _selected(suite.cells, request, registry)
        }
        if not store.root.is_dir():
            raise UsageError(f"there is no folder {store.root} to replay from; name the records' folder: --results DIR")

    def record(self, case: str) -> Record:
        """The record of a case of which `skips` says nothing."""
        return self._records[case]

    def job(self, record: Record) -> Job:
        """Raises NotApplicable: a replay lays no case out."""
        raise NotApplicable(f"{record.case} is replayed, and laid out for no clock; leave out --tnbench-replay")

    def close(self) -> None:
        """There is nothing to end."""


def _settings(settings: Settings, request: Request) -> Settings:
    changed = settings.changed(request.overrides)
    if changed.device_type not in ("cpu", "cuda"):
        resolve_device(changed.device)  # which refuses what is no device
    return changed


def _selected(cells: tuple[Cell, ...], request: Request, registry: Registry) -> list[Cell]:
    selection, cases = Selection.parse(request.select, registry), [cell.case for cell in cells]
    if selection.leaves_none(cases):
        raise UsageError(selection.why_empty(cases))
    return [cell for cell in cells if selection.matches(cell.case)]


def _counting(store: Store, settings: Settings) -> dict[str, Record]:
    """The record that counts of each case that has any with these settings."""
    found: dict[str, Record] = {}
    for line in store.record_lines():
        record: Record = line.value
        if _fits(record, settings) and (record.case not in found or supersedes(record, found[record.case])):
            found[record.case] = record
    return found


def _fits(record: Record, settings: Settings) -> bool:
    wanted = settings.as_json()
    if settings.device == "auto":
        wanted["device"] = record.settings.get("device")
    return record.settings == wanted


def _how_to_get(cell: Cell, request: Request) -> str:
    command = ["tnbench", "run", "--suite", str(request.suite), "--case", cell.case.id]
    for name, value in (*request.overrides.items(), ("results", request.results)):
        command += option(name, value)
    return f"no record of it with these settings in {request.results}; get one with: {shlex.join(command)}"
