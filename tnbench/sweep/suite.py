"""Suites: named sets of cases with settings and limits, expanded from their TOML files."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tnbench.core.case import Case
from tnbench.core.errors import UsageError, unknown
from tnbench.core.grammar import AXES
from tnbench.core.registry import Registry
from tnbench.core.settings import Limits, Settings
from tnbench.sweep.names import DENSE, FULL, check_case, check_part
from tnbench.sweep.select import Selection
from tnbench.sweep.suite_file import FOLDER, Product, Written, find_suite, located, read_suite, suite_names

GIVEN = "@plugins"
"""Among a product's methods: every method that came with --plugin."""


class SuiteListing(NamedTuple):
    """A suite as it is listed."""

    name: str
    summary: str
    cost: str


@dataclass(frozen=True)
class Cell:
    """A case of a suite; `excluded` is why it is left out, empty where it is not."""

    case: Case
    excluded: str = ""


@dataclass(frozen=True)
class Suite:
    """A named set of cases with the settings and limits that they run under."""

    name: str
    summary: str
    settings: Settings
    limits: Limits
    cells: tuple[Cell, ...]
    cost: str = ""


def suite_listings() -> list[SuiteListing]:
    """Every suite that comes with tnbench."""
    written = {name: tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")) for name in suite_names()}
    return [SuiteListing(name, table["summary"], table.get("cost", "")) for name, table in written.items()]


def load_suite(name_or_file: str, registry: Registry, *, seeds: int | None = None) -> Suite:
    """Read a suite by name or from a .toml file; `seeds` (how many) replaces those of its products.

    Raises UsageError that names file and key, what was got, and the nearest valid value.
    """
    file = find_suite(name_or_file)
    written = read_suite(file)
    cells = _cells(written, registry, seeds)
    if not cells:
        raise UsageError(f"{file}: no case in it, wanted a [[product]] or cases = [...]")
    with located(str(file)):
        settings, limits = Settings().changed(written.settings), _limits(written.limits)
    return Suite(file.stem, written.summary, settings, limits, cells, written.cost)


def _limits(values: Mapping[str, Any]) -> Limits:
    names = [field.name for field in dataclasses.fields(Limits)]
    for name, value in values.items():
        if name not in names:
            raise UsageError("limits: " + unknown("limit", name, names))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"limits: got {name} = {value!r}, wanted seconds above 0")
    return Limits(**values)


def _cells(written: Written, registry: Registry, seeds: int | None) -> tuple[Cell, ...]:
    cases: list[Case] = []
    for product in written.products:
        with located(product.where):
            cases += _expand(product, registry, seeds)
    for where, text in written.cases:
        with located(where):
            case = Case.parse(text)
            check_case(case, registry)
            cases.append(case)
    excludes = list(_excludes(written, registry))
    return tuple(Cell(case, _excluded(case, excludes)) for case in dict.fromkeys(cases))


def _expand(product: Product, registry: Registry, seeds: int | None) -> Iterator[Case]:
    """Seeds vary slowest, so that a run cut short has seen every cell once before any twice."""
    methods = _methods(product.axes["method"], registry)
    axes = {**product.axes, "method": methods}
    for axis in AXES:
        for text in axes[axis]:
            check_part(axis, text, registry)
    if any(method != DENSE for method in methods) and not axes["rank"]:
        raise UsageError("rank: got none, wanted a rank such as 'x4' or a list of ranks")
    pairs = [(method, rank) for method in methods for rank in ((FULL,) if method == DENSE else axes["rank"])]
    for seed in range(seeds) if seeds else product.seeds:
        for model, dataset, training, parallel in itertools.product(
            axes["model"], axes["dataset"], axes["training"], axes["parallel"]
        ):
            for method, rank in pairs:
                yield Case(method, rank, model, dataset, training, parallel, seed)


def _methods(names: tuple[str, ...], registry: Registry) -> tuple[str, ...]:
    given = set(registry.given("method"))
    exact = [listing.name for listing in registry.listings("method") if listing.name in given and not listing.pattern]
    spread: list[str] = []
    for name in names:
        if name.startswith("@") and name != GIVEN:
            raise UsageError(f"method: got {name!r}, wanted a method or {GIVEN!r}")
        spread += exact if name == GIVEN else [name]
    return tuple(dict.fromkeys(spread))


def _excludes(written: Written, registry: Registry) -> Iterator[tuple[Selection, str]]:
    for where, select, reason in written.excludes:
        with located(where):
            yield Selection.parse(select, registry), reason


def _excluded(case: Case, excludes: list[tuple[Selection, str]]) -> str:
    return next((reason for selection, reason in excludes if selection.matches_exactly(case)), "")
