"""The program: its verbs, and how errors become one line and an exit code."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tnbench.cli import baseline, data
from tnbench.cli.bisect import bisect
from tnbench.cli.calibrate import calibrate
from tnbench.cli.check import check
from tnbench.cli.doctor import doctor
from tnbench.cli.drop import drop
from tnbench.cli.export import export
from tnbench.cli.history import history
from tnbench.cli.list import list_names
from tnbench.cli.plan import plan
from tnbench.cli.report import report
from tnbench.cli.run import run
from tnbench.cli.show import show
from tnbench.core.errors import TnbenchError, UsageError

USAGE, FAILED, INTERRUPTED = 2, 1, 130


class Verbs(TyperGroup):
    """The verbs. An error raised on purpose is printed as one line; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TnbenchError as error:
            typer.echo(f"tnbench: {error}", err=True)
            raise typer.Exit(USAGE if isinstance(error, UsageError) else FAILED) from None
        except KeyboardInterrupt:
            typer.echo("tnbench: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="tnbench", cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)
for name, verb in (
    ("run", run),
    ("plan", plan),
    ("list", list_names),
    ("report", report),
    ("show", show),
    ("export", export),
    ("check", check),
    ("bisect", bisect),
    ("drop", drop),
    ("history", history),
    ("calibrate", calibrate),
    ("doctor", doctor),
):
    app.command(name)(verb)
app.add_typer(data.app, name="data")
app.add_typer(baseline.app, name="baseline")


def _print_version(asked: bool) -> None:
    if asked:
        from tnbench import __version__

        typer.echo(f"tnbench {__version__}")
        raise typer.Exit


@app.callback()
def tnbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The benchmark of CNNs compressed by tensor decompositions. Start with: tnbench run."""


def main() -> None:
    """Run the console script. SIGTERM, which schedulers and CI systems send, interrupts it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
