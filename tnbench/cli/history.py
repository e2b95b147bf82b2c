"""``tnbench history``: asv's site of results from commit to commit, which works offline, on this machine alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tnbench.core.errors import TnbenchError, UsageError

if TYPE_CHECKING:
    from tnbench.history.asv.project import Project

_STDERR = 2


def history(
    config: Annotated[Path, typer.Option(metavar="FILE", help="The configuration of asv.")] = Path("asv.conf.json"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8080,
    serve: Annotated[bool, typer.Option(help="Serve the site until Ctrl-C, to this machine only.")] = True,
) -> None:
    """Publish the results of asv as a site that works offline, and serve it on 127.0.0.1."""
    from tnbench.history.asv.project import read_project
    from tnbench.history.asv.serve import address, bound_server

    project = _checked(read_project(config, otherwise="name one: --config FILE"))
    if not serve:
        _publish(project)
        typer.echo(project.html_dir / "index.html")
        return
    with bound_server(project.html_dir, port) as server:  # a port that is taken is refused before publishing
        _publish(project)
        with suppress(KeyboardInterrupt):
            typer.echo(f"{address(server)} shows {project.html_dir}; Ctrl-C ends it")
            server.serve_forever()


def _checked(project: Project) -> Project:
    """Raise UsageError without results, or where publishing would delete them."""
    for kept in (project.config, project.results_dir):
        if kept.resolve().is_relative_to(project.html_dir):
            raise UsageError(
                f"{project.config}: publishing empties html_dir, {project.html_dir}, which holds {kept}; "
                "give html_dir a folder of its own"
            )
    if not any(file.name != "machine.json" for file in project.results_dir.glob("*/*.json")):
        raise UsageError(
            f"{project.results_dir} holds no results; measure with asv run, or write stored records there with: "
            "tnbench export asv"
        )
    return project


def _publish(project: Project) -> None:
    """Let asv write its site, its words on standard error, and make the site work offline."""
    from tnbench.history.asv.results import restore
    from tnbench.history.asv.site import make_offline

    restore(project.results_dir)  # asv run has left out what tnbench export asv wrote
    command = (sys.executable, "-m", "asv", "publish", "--config", str(project.config))
    done = subprocess.run(command, stdout=_STDERR, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise TnbenchError(f"asv publish ended with {done.returncode}; what it said stands above")
    make_offline(project.html_dir)
