"""``tnbench data``: which files of the data sets are there, and fetching them where there is a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tnbench.cli.options import DATA_ROOT, AsJson, DataRoot, Plugins
from tnbench.cli.terminal import counted, print_json, stdout
from tnbench.core.errors import NotApplicable, PluginError, UsageError
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Wanted
from tnbench.core.registry import Bound, Registry

app = typer.Typer(no_args_is_help=True, help="See which data sets are there, and fetch them.")

_NAME_WIDTH = 12

Dataset = Annotated[str | None, typer.Argument(metavar="DATASET", help="One data set (default: all).")]


@app.command()
def status(
    dataset: Dataset = None, data_root: DataRoot = DATA_ROOT, as_json: AsJson = False, plugin: Plugins = None
) -> None:
    """Say of each data set whether its files are there, and which are wanted where."""
    registry = Registry(plugin or ())
    found = [state(name, data_root, registry) for name in _names(dataset, registry)]
    if as_json:
        print_json(found)
        return
    console, width = stdout(), max(_NAME_WIDTH, *(len(row["name"]) for row in found))
    for row in found:
        console.print(f"{row['name']:<{width}} {row['summary']}", soft_wrap=True, markup=False)
        for line in row["missing"]:
            console.print(f"{'':<{width}} {line}", soft_wrap=True, markup=False)


@app.command()
def fetch(dataset: Dataset = None, data_root: DataRoot = DATA_ROOT, plugin: Plugins = None) -> None:
    """Download what is missing into the data root. Files that are there are left alone.

    Of all data sets, those that have to be got by hand are told about and passed over.
    """
    registry = Registry(plugin or ())
    for name in _names(dataset, registry):
        try:
            _fetch(name, data_root, registry)
        except NotApplicable as by_hand:
            if dataset:
                raise
            typer.echo(f"{name}: {by_hand}")


def _fetch(name: str, root: Path, registry: Registry) -> None:
    bound = _bind(name, registry)
    if all(file.found for file in _wanted(bound, root)):
        typer.echo(f"{name}: everything is there")
        return
    typer.echo(f"{name}: fetching into {root}")
    bound.module.fetch(bound.atom.name, bound.options, root)
    typer.echo(f"{name}: fetched")


def state(name: str, root: Path, registry: Registry) -> dict[str, Any]:
    """One data set in plain types: name, summary, whether it can be loaded, and lines about what is missing."""
    try:
        files = _wanted(_bind(name, registry), root)
    except PluginError as error:
        return {"name": name, "summary": f"broken: {error}", "there": False, "missing": []}
    missing = [f"{file.name}: wanted at {' or '.join(map(str, file.paths))}" for file in files if not file.found]
    return {"name": name, "summary": _summary(files, missing, root), "there": not missing, "missing": missing}


def _summary(files: Sequence[Wanted], missing: Sequence[str], root: Path) -> str:
    if not files:
        return "ready (needs no files)"
    kind = "folder" if all(file.name.endswith("/") for file in files) else "file"
    if missing:
        return f"{len(missing)} of {counted(len(files), kind)} missing under {root}"
    return f"ready ({counted(len(files), kind)} under {root})"


def _names(dataset: str | None, registry: Registry) -> list[str]:
    return [dataset] if dataset else [listing.name for listing in registry.listings("dataset")]


def _bind(name: str, registry: Registry) -> Bound:
    atoms = parse_part("dataset", name)
    if len(atoms) > 1:
        raise UsageError(f"dataset: got the mixture {name!r}, wanted one data set")
    return registry.bind("dataset", atoms[0])


def _wanted(bound: Bound, root: Path) -> Sequence[Wanted]:
    wanted: Sequence[Wanted] = bound.module.wanted(bound.atom.name, bound.options, root)
    return wanted
