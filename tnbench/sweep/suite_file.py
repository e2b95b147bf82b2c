"""Suite files: TOML read and checked, every error naming file and key; `extends` followed. No case is made here.

summary = "What the suite is for."            one sentence, as it is listed
cost = "minutes on a laptop"                  where, and about how long, as it is listed and planned
extends = "quick"                             or a file: its settings, limits, products, cases and exclusions
cases = ["cp/x4/cnn8/digits/none/single#0"]   single cases, beside the products

[settings]                                    fields of tnbench.core.settings.Settings
epochs = 2

[limits]                                      fields of tnbench.core.settings.Limits
timeout_s = 600

[[product]]                                   a name or a list of names per axis
method = ["dense", "tucker2", "@plugins"]     dense comes once, with rank full; @plugins: those of --plugin
rank = ["x4", "x16"]
model = "cnn8"
dataset = "digits"
training = "finetune"
parallel = "single"                           the default
seeds = 3                                     0, 1 and 2; or a list; by default 0 alone

[[exclude]]                                   stays in the plan, skipped
select = "method=tucker2 rank=x16"
reason = "why these cases are left out"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnbench.core.errors import UsageError, unknown
from tnbench.core.grammar import AXES

FOLDER = Path(__file__).parent.parent / "suites"

_PRODUCT = (*AXES, "seeds")
_EXCLUDE = ("select", "reason")
_KINDS: Mapping[str, type] = {
    "summary": str,
    "cost": str,
    "extends": str,
    "settings": dict,
    "limits": dict,
    "product": list,
    "cases": list,
    "exclude": list,
}
_WANTED: Mapping[type, str] = {str: "a text", dict: "a table", list: "a list"}
_DEFAULTS: Mapping[str, tuple[str, ...]] = {"parallel": ("single",), "rank": ()}


@dataclass(frozen=True)
class Product:
    """The axes that are multiplied; `where` says which table of which file they stand in."""

    where: str
    axes: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """What a file and those that it extends say, in their order. Of a key that stands in both, the file's own wins."""

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    products: tuple[Product, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()
    excludes: tuple[tuple[str, str, str], ...] = ()
    cost: str = ""


def suite_names() -> list[str]:
    """Names of the suites that come with tnbench."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def find_suite(name_or_file: str, folder: Path = Path()) -> Path:
    """The file meant: a name of `suite_names`, or the path of a .toml file, seen from `folder`. Raises UsageError."""
    if name_or_file in suite_names():
        return FOLDER / f"{name_or_file}.toml"
    if name_or_file.endswith(".toml") or "/" in name_or_file:
        file = folder / name_or_file
        if file.is_file():
            return file
        hint = unknown("suite", file.stem, suite_names())
        raise UsageError(f"suite: no file {file}; give the path of a .toml file, or a name: {hint}")
    raise UsageError(f"{unknown('suite', name_or_file, suite_names())}, or give the path of a .toml file")


def read_suite(file: Path, above: tuple[Path, ...] = ()) -> Written:
    """Read `file` and what it extends. `above` are the files that extend it."""
    path = file.resolve()
    if path in above:
        chain = " -> ".join(link.name for link in (*above[above.index(path) :], path))
        raise UsageError(f"{file}: extends: the files extend each other in a circle ({chain}); take one out")
    data = _read_toml(file)
    own = _check(file, data)
    if "extends" not in data:
        return own
    with located(f"{file}: extends"):
        base = find_suite(data["extends"], file.parent)
    return _merge(read_suite(base, (*above, path)), own)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` before the text of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: no valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as text: {error}") from None
    if not data:
        raise UsageError(f'{file}: the file is empty, wanted a summary and a [[product]], such as summary = "..."')
    return data


def _check(file: Path, data: Mapping[str, Any]) -> Written:
    with located(str(file)):
        for key, value in data.items():
            if key not in _KINDS:
                raise UsageError(unknown("key", key, _KINDS))
            _check_kind(key, value, _KINDS[key])
        if not data.get("summary"):
            raise UsageError("summary: got none, wanted one sentence on what the suite is for")
        return Written(
            data["summary"],
            data.get("settings", {}),
            data.get("limits", {}),
            tuple(_product(f"{file}: product {n}", table) for n, table in enumerate(data.get("product", ()), 1)),
            tuple((f"{file}: cases", _text("cases", case)) for case in data.get("cases", ())),
            tuple(_exclude(file, f"exclude {n}", table) for n, table in enumerate(data.get("exclude", ()), 1)),
            data.get("cost", ""),
        )


def _product(where: str, table: Any) -> Product:
    named = where.partition(": ")[2]
    _check_table(named, table, _PRODUCT)
    missing = [axis for axis in AXES if axis not in table and axis not in _DEFAULTS]
    if missing:
        raise UsageError(f"{named}: {missing[0]} is missing; wanted a name or a list of names")
    axes = {axis: _texts(f"{named}: {axis}", table[axis]) if axis in table else _DEFAULTS[axis] for axis in AXES}
    return Product(where, axes, _seeds(f"{named}: seeds", table.get("seeds", 1)))


def _exclude(file: Path, named: str, table: Any) -> tuple[str, str, str]:
    _check_table(named, table, _EXCLUDE)
    for key in _EXCLUDE:
        if not _text(f"{named}: {key}", table.get(key, "")).strip():
            raise UsageError(f"{named}: {key}: got none, wanted which cases are left out (select) and why (reason)")
    return f"{file}: {named}", table["select"], table["reason"]


def _check_table(named: str, table: Any, keys: tuple[str, ...]) -> None:
    _check_kind(named, table, dict)
    for key in table:
        if key not in keys:
            raise UsageError(f"{named}: {unknown('key', key, keys)}")


def _check_kind(key: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{key}: got {value!r}, wanted {_WANTED[kind]}")


def _text(key: str, value: Any) -> str:
    _check_kind(key, value, str)
    return str(value)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(text, str) for text in values):
        raise UsageError(f"{key}: got {value!r}, wanted a text or a list of texts")
    return tuple(values)


def _seeds(key: str, value: Any) -> tuple[int, ...]:
    if type(value) is int and value >= 1:
        return tuple(range(value))
    if isinstance(value, list) and value and all(type(seed) is int and seed >= 0 for seed in value):
        return tuple(value)
    raise UsageError(f"{key}: got {value!r}, wanted how many (such as 3) or a list of seeds (such as [0, 1, 2])")


def _merge(base: Written, own: Written) -> Written:
    return Written(
        own.summary,
        {**base.settings, **own.settings},
        {**base.limits, **own.limits},
        base.products + own.products,
        base.cases + own.cases,
        base.excludes + own.excludes,
        own.cost,
    )
