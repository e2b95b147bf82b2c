from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from tnbench.cli.options import Asked
from tnbench.cli.request import overrides, to_request
from tnbench.cli.taking import taking
from tnbench.core.settings import Settings


@dataclass(frozen=True)
class Pair:
    left: int = 1
    right: Annotated[str | None, typer.Option("--right-hand", help="which")] = None


def test_a_verb_takes_the_fields_of_a_dataclass_as_options() -> None:
    app = typer.Typer()

    @app.command()
    @taking(Pair)
    def verb(pair: Pair, name: Annotated[str, typer.Argument()], loud: bool = False) -> None:
        """Say it."""
        typer.echo(f"{pair} {name} {loud}")

    said = CliRunner().invoke(app, ["--left", "2", "--right-hand", "b", "Ada", "--loud"])
    assert said.output == "Pair(left=2, right='b') Ada True\n"
    assert "Say it." in CliRunner().invoke(app, ["--help"]).output


def test_every_setting_is_an_option_of_its_name_and_type() -> None:
    asked = {field.name: str(field.type) for field in dataclasses.fields(Asked)}
    for field in dataclasses.fields(Settings):
        wanted = str(field.type).removesuffix(" | None") + " | None"
        assert wanted in asked[field.name], field.name


def test_only_what_was_given_overrides() -> None:
    assert overrides(Asked(epochs=0, tf32=False, device="cpu")) == {"device": "cpu", "tf32": False, "epochs": 0}
    assert overrides(Asked()) == {}


def test_quick_is_asked_for_when_neither_suite_nor_case_is() -> None:
    here = {"data_root": Path("d"), "results": Path("r")}
    assert to_request(Asked(), **here).suite == "quick"
    assert to_request(Asked(case=["a"]), **here).suite is None
    both = to_request(Asked(suite="mnist", case=["a"], timeout=5.0, rerun="failed,oom"), **here)
    assert (both.suite, both.cases, both.timeout_s, both.rerun) == ("mnist", ("a",), 5.0, ("failed", "oom"))
    assert (both.data_root, both.results) == (Path("d"), Path("r"))
