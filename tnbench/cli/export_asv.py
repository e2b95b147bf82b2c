"""``tnbench export asv``: what was measured at commits, for asv's history of them."""

from __future__ import annotations

from pathlib import Path

import typer

from tnbench.cli.damage import warn_of_damage
from tnbench.cli.options import Chosen
from tnbench.cli.stored import stored_lines
from tnbench.cli.terminal import counted
from tnbench.core.errors import UsageError
from tnbench.core.registry import Registry


def export_asv(chosen: Chosen, output: Path | None, commit: str | None, results: Path, registry: Registry) -> None:
    """Add the chosen launches to asv's results in the folder `output`, by default that of ``./asv.conf.json``.

    Says on standard error what was left out, and on standard output what is there now. Raises UsageError, before
    anything is written, where asv, the folder or the repository cannot be found, or no launch at a commit is chosen.
    """
    from tnbench.history.asv.project import CONFIG, check_asv, read_project

    check_asv()
    from tnbench.history.asv.launches import found_in
    from tnbench.history.asv.results import export
    from tnbench.history.commits import Repository
    from tnbench.store.records import Store

    folder = output or read_project(CONFIG, otherwise="name the folder of asv's results: --output DIR").results_dir
    repository, store = Repository.around(Path()), Store(results)
    unnamed = repository.resolve(commit) if commit else None
    found = found_in(stored_lines(chosen, results, registry), repository, unnamed)
    warn_of_damage(store)
    if not found.launches:
        raise UsageError(f"export asv: no record in {results} is a launch at a commit: {'; '.join(found.notes)}")
    for note in found.notes:
        typer.echo(f"tnbench: {note}", err=True)
    dropped = {id for line in store.drops() for id in line.value["drops"]}
    try:
        there = export(found, dropped, repository, folder)
    except OSError as error:
        raise UsageError(f"--output: {folder} cannot be written ({error.strerror}); give a folder of yours") from None
    typer.echo(
        f"{folder} holds {counted(there.benchmarks, 'benchmark')} of {counted(there.cases, 'case')} "
        f"at {counted(there.commits, 'commit')} on {counted(there.machines, 'machine')}; "
        f"look at them with: tnbench history"
    )
