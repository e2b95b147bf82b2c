"""What ``tnbench run`` shows while it works: a live bar on a terminal, plain lines elsewhere, or only bad ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tnbench.cli.duration import duration
from tnbench.cli.plan import in_words
from tnbench.core.record import BAD_STATUSES, Record

if TYPE_CHECKING:
    from tnbench.sweep.plan import Plan
    from tnbench.sweep.runner import Listener

STYLES = {"ok": "green", "skipped": "yellow", "interrupted": "yellow"}


def listener_for(out: Console, err: Console, *, quiet: bool) -> Listener:
    """The one that suits where the output goes."""
    if quiet:
        return Quiet(err)
    return Bar(out) if out.is_terminal else Lines(out)


def finished_line(record: Record) -> str:
    """One case in one line: status, id, seconds, and top-1 or the reason.

    >>> case = "dense/full/cnn8/digits/none/single#0"
    >>> finished_line(Record(case, "", "ok", metrics={"top1": 99.4444}, provenance={"wall_s": 2.04}))
    'ok          dense/full/cnn8/digits/none/single#0  2.0 s  top-1 99.44 %'
    """
    said = f"top-1 {record.metrics['top1']:.2f} %" if "top1" in record.metrics else record.reason.partition("\n")[0]
    return f"{record.status:<11} {record.case}  {record.provenance['wall_s']:.1f} s  {said}".rstrip()


class Lines:
    """One line when a case starts and one when it has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def planned(self, plan: Plan) -> None:
        self._console.print(in_words(plan))

    def started(self, label: str, done: int, total: int, eta_s: float | None) -> None:
        left = "" if eta_s is None else f"  {duration(eta_s)} left"
        self._console.print(f"[{done + 1}/{total}] {label}{left}")

    def finished(self, record: Record) -> None:
        self._console.print(finished_line(record), style=STYLES.get(record.status, "red"))

    def closed(self) -> None:
        """Nothing to clear away."""


class Quiet(Lines):
    """Only the cases that ended badly."""

    def planned(self, plan: Plan) -> None:
        """Say nothing."""

    def started(self, label: str, done: int, total: int, eta_s: float | None) -> None:
        """Say nothing."""

    def finished(self, record: Record) -> None:
        if record.status in BAD_STATUSES:
            super().finished(record)


class Bar(Lines):
    """A bar with the running case, cases done of all, and the time left; ended cases scroll by above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=None, left="")

    def planned(self, plan: Plan) -> None:
        super().planned(plan)
        self._progress.start()

    def started(self, label: str, done: int, total: int, eta_s: float | None) -> None:
        left = "" if eta_s is None else f"{duration(eta_s)} left"
        self._progress.update(self._task, completed=done, total=total, description=label, left=left)

    def closed(self) -> None:
        self._progress.stop()
