"""``tnbench plan``: what ``tnbench run`` would do with the same options, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.duration import duration
from tnbench.cli.options import DATA_ROOT, RESULTS, AsJson, Asked, DataRoot, Plugins, Results
from tnbench.cli.request import to_request
from tnbench.cli.taking import taking
from tnbench.cli.terminal import counted, print_json, stdout
from tnbench.core.registry import Registry

if TYPE_CHECKING:
    from tnbench.sweep.estimate import Estimate
    from tnbench.sweep.plan import Plan

_STYLES = {"run": "bold", "done": "green", "skip": "yellow"}


@taking(Asked)
def plan(
    asked: Asked,
    data_root: DataRoot = DATA_ROOT,
    results: Results = RESULTS,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what run would do: which cases run, which are done, which are skipped, and why."""
    from tnbench.store.records import Store
    from tnbench.sweep.estimate import estimate
    from tnbench.sweep.plan import make_plan

    request, store = to_request(asked, data_root=data_root, results=results), Store(results)
    made = make_plan(request, Registry(plugin or ()), store)
    warn_of_damage(store)
    if as_json:
        print_json(_rows(made))
    else:
        _print(made, estimate(made, store))


def in_words(made: Plan) -> str:
    """One line: ``quick: 49 cases (40 to run, 9 done, 0 to skip), 3 baselines to train``."""
    count = Counter(entry.action for entry in made.entries)
    launches = sum(entry.launches for entry in made.entries if entry.action == "run")
    often = f" in {counted(launches, 'launch', 'launches')}" if launches > count["run"] else ""
    actions = f"{count['run']} to run{often}, {count['done']} done, {count['skip']} to skip"
    baselines = counted(len(made.baselines), "baseline")
    return f"{made.name}: {counted(len(made.entries), 'case')} ({actions}), {baselines} to train"


def time_in_words(found: Estimate) -> str:
    """How long a plan will take, and what that is taken from; empty where nothing is to run."""
    runs = found.own + found.alike + found.unknown
    if not runs:
        return ""
    if found.seconds is None:
        return "how long that takes is unknown: nothing like it has ended on this machine yet"
    parts = (
        (found.own, "at their last time"),
        (found.alike, "at the median of those that differ in method, rank or seed alone"),
        (found.unknown, "never timed here, at the median of the others"),
    )
    told = ", ".join(f"{count} {how}" for count, how in parts if count)
    return f"about {duration(found.seconds)} on this machine ({counted(runs, 'run')}: {told})"


def _rows(made: Plan) -> list[dict[str, str]]:
    return [
        {"name": entry.case.id, "summary": entry.why, "action": entry.action, "key": entry.key}
        for entry in made.entries
    ]


def _print(made: Plan, took: Estimate) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for entry in made.entries:
        table.add_row(entry.action, entry.case.id, entry.why, style=_STYLES[entry.action])
    console = stdout()
    console.print(table)
    console.print(in_words(made))
    if made.cost:
        console.print(f"the whole suite costs {made.cost}")
    if words := time_in_words(took):
        console.print(words)
