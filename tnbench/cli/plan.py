"""``tnbench plan``: what ``tnbench run`` would do with the same options, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.options import DATA_ROOT, RESULTS, AsJson, Asked, DataRoot, Plugins, Results
from tnbench.cli.request import to_request
from tnbench.cli.taking import taking
from tnbench.cli.terminal import counted, print_json, stdout
from tnbench.core.registry import Registry

if TYPE_CHECKING:
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
    from tnbench.sweep.plan import make_plan

    request, store = to_request(asked, data_root=data_root, results=results), Store(results)
    made = make_plan(request, Registry(plugin or ()), store)
    warn_of_damage(store)
    if as_json:
        print_json(_rows(made))
    else:
        _print(made)


def in_words(made: Plan) -> str:
    """One line: ``quick: 49 cases (40 to run, 9 done, 0 to skip), 3 baselines to train``."""
    count = Counter(entry.action for entry in made.entries)
    launches = sum(entry.launches for entry in made.entries if entry.action == "run")
    often = f" in {counted(launches, 'launch', 'launches')}" if launches > count["run"] else ""
    actions = f"{count['run']} to run{often}, {count['done']} done, {count['skip']} to skip"
    baselines = counted(len(made.baselines), "baseline")
    return f"{made.name}: {counted(len(made.entries), 'case')} ({actions}), {baselines} to train"


def _rows(made: Plan) -> list[dict[str, str]]:
    return [
        {"name": entry.case.id, "summary": entry.why, "action": entry.action, "key": entry.key}
        for entry in made.entries
    ]


def _print(made: Plan) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for entry in made.entries:
        table.add_row(entry.action, entry.case.id, entry.why, style=_STYLES[entry.action])
    console = stdout()
    console.print(table)
    console.print(in_words(made))
