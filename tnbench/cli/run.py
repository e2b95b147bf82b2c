"""``tnbench run``: run a suite or single cases, record what each gave, and write the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.options import (
    DATA_ROOT,
    REPORTS,
    RESULTS,
    Asked,
    DataRoot,
    ExecutorName,
    MaxTime,
    Plugins,
    Reports,
    Results,
)
from tnbench.cli.page import write_page
from tnbench.cli.progress import listener_for
from tnbench.cli.request import to_request
from tnbench.cli.stored import left_out_of_suite
from tnbench.cli.taking import taking
from tnbench.cli.terminal import counted, stderr, stdout
from tnbench.core.record import BAD_STATUSES
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.sweep.executors import Executor
    from tnbench.sweep.plan import Plan
    from tnbench.sweep.runner import Outcome


@taking(Asked)
def run(
    asked: Asked,
    max_time: MaxTime = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="local: in a worker process with a hard time limit; inline: in this one.")
    ] = ExecutorName.local,
    data_root: DataRoot = DATA_ROOT,
    results: Results = RESULTS,
    reports: Reports = REPORTS,
    plugin: Plugins = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print only the cases that end badly, and the page's path.")
    ] = False,
) -> None:
    """Run what has no valid record yet, then print a summary and write the page. Without options: the suite quick.

    Exit code: 0 all ok or skipped, 1 some case ended badly, 2 wrong use, 130 interrupted.
    """
    from tnbench.store.records import Store
    from tnbench.sweep.plan import make_plan
    from tnbench.sweep.runner import run_plan

    out = stdout()
    registry, store = Registry(plugin or ()), Store(results)
    made = make_plan(to_request(asked, data_root=data_root, results=results), registry, store)
    warn_of_damage(store)
    listener = listener_for(out, stderr(), quiet=quiet)
    runs = _executor(executor)
    outcome = run_plan(made, store=store, registry=registry, executor=runs, listener=listener, max_time_s=max_time)
    if not quiet:
        print_summary(outcome, out)
        _say_how_to_rerun(made, out)
    shown = [*outcome.records, *left_out_of_suite(asked, made.entries, results, registry)]
    typer.echo(write_page(shown, made, reports, expected=max(len(shown), made.whole)))
    raise typer.Exit(exit_code(outcome))


def exit_code(outcome: Outcome) -> int:
    """0, 1 or 130, as the design lists them."""
    if outcome.interrupted:
        return 130
    return int(any(record.status in BAD_STATUSES for record in outcome.records))


def _say_how_to_rerun(made: Plan, out: Console) -> None:
    """A case that ended badly is not run again by itself, since it would most often end so again."""
    kept = [entry.record.status for entry in made.entries if entry.action == "done" and entry.record]
    bad = [status for status in kept if status in BAD_STATUSES]
    if bad:
        again = ",".join(dict.fromkeys(bad))
        out.print(f"{counted(len(bad), 'case')} ended badly in an earlier run; --rerun {again} runs what did again")


def _executor(name: ExecutorName) -> Executor:
    from tnbench.sweep.executors.inline import InlineExecutor
    from tnbench.sweep.executors.local import LocalExecutor

    return LocalExecutor() if name is ExecutorName.local else InlineExecutor()


def print_summary(outcome: Outcome, out: Console) -> None:
    """The table of what was measured, and what there was no time for."""
    from tnbench.reporting.terminal import summary_table

    out.print()
    out.print(summary_table(outcome.records))
    for label in outcome.cut:
        out.print(f"{label} was ended by --max-time; nothing of it is kept, and the next run begins it anew")
    if outcome.left:
        out.print(f"{counted(outcome.left, 'case')} left for want of time; the same command goes on there")
