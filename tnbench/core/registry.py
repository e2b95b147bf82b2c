"""Which plug-ins there are. Listing reads their source and imports nothing; using a name imports one module.

A plug-in file is named for its idea. Its docstring's first line is its summary, and it may declare, as literals:

    VERSION = 1                                   raised by hand when its results change
    NAMES = {"resnet20": "...", "resnet32": "..."}   a family of names with their summaries
    PATTERN = ("xR", r"x(.+)")                    names that are matched: how they are listed, and the expression
    KIND = "method"                               in files given by --plugin, where no folder or group tells the kind
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from tnbench.core.errors import PluginError, UsageError, unknown
from tnbench.core.grammar import Atom
from tnbench.core.options import read_options

KINDS: Mapping[str, str] = {
    "method": "methods",
    "rank": "ranks",
    "model": "models",
    "dataset": "datasets",
    "training": "training",
    "parallel": "parallel",
}
"""Kind (and axis) of a plug-in -> its folder in the package and the last word of its entry-point group."""

_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Listing:
    """One name that a case may use. `pattern` is set where the name stands for many (``xR``)."""

    kind: str
    name: str
    summary: str
    module: str
    path: Path
    version: int = 1
    pattern: str | None = None
    origin: str = "tnbench"
    broken: str = ""

    def matches(self, name: str) -> bool:
        return bool(re.fullmatch(self.pattern, name)) if self.pattern else name == self.name

    def source_digest(self) -> str:
        """16 hex digits of the file's SHA-256: tells that the source changed though its version did not."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Bound:
    """A plug-in at work: its module, the atom that named it and its options.

    A method may be told by its atom which layers it is for: `skip` and `only` are globs of names.
    """

    listing: Listing
    module: Any
    atom: Atom
    options: Any
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def scope(self) -> str:
        """``layer``, ``group`` or ``network``: what a method works on at a time."""
        return str(getattr(self.module, "SCOPE", "layer"))


class Registry:
    """The plug-ins of the package, of installed distributions, and of the files given."""

    def __init__(self, plugin_files: Iterable[Path] = ()) -> None:
        self.plugin_files = tuple(Path(file).resolve() for file in plugin_files)
        self._given = tuple(listing for file in self.plugin_files for listing in _read_given(file))
        self._listings: dict[str, list[Listing]] = {}
        for given in self._given:
            self.listings(given.kind)

    def listings(self, kind: str) -> list[Listing]:
        """Every name of one kind, sorted. Raises UsageError when two files claim the same name."""
        if kind not in self._listings:
            self._listings[kind] = self._list(kind)
        return self._listings[kind]

    def _list(self, kind: str) -> list[Listing]:
        found = [*_built_in(kind), *_installed(kind), *(g for g in self._given if g.kind == kind)]
        by_name: dict[str, Listing] = {}
        for listing in found:
            first = by_name.setdefault(listing.name, listing)
            if first is not listing:
                raise UsageError(
                    f"two plug-ins are {kind} {listing.name!r}: {first.path} and {listing.path}; rename one of them"
                )
        return sorted(by_name.values(), key=lambda listing: listing.name)

    def given(self, kind: str) -> list[str]:
        """Names that came with --plugin files."""
        return [listing.name for listing in self._given if listing.kind == kind]

    def find(self, kind: str, name: str) -> Listing:
        """The listing that serves `name`: one of that very name, else one whose pattern it fits.

        Raises UsageError with the nearest name.
        """
        listings = self.listings(kind)
        for listing in sorted(listings, key=lambda listing: listing.pattern is not None):
            if listing.matches(name):
                return listing
        raise UsageError(unknown(kind, name, [listing.name for listing in listings]))

    def load(self, listing: Listing) -> Any:
        """Import the plug-in's module. Raises PluginError, with the cause, when that fails."""
        if listing.broken:
            raise PluginError(f"{listing.kind} {listing.name!r} of {listing.path}: {listing.broken}; mend the file")
        try:
            if listing.module.startswith(_GIVEN_PREFIX):
                return _import_file(listing.module, listing.path)
            return importlib.import_module(listing.module)
        except Exception as error:
            raise PluginError(
                f"{listing.kind} {listing.name!r} of {listing.path} cannot be loaded: "
                f"{type(error).__name__}: {error}; mend the file or leave it out"
            ) from error

    def bind(self, kind: str, atom: Atom) -> Bound:
        """Load what `atom` names and read its options. Raises UsageError or PluginError."""
        listing = self.find(kind, atom.name)
        module = self.load(listing)
        own, globs = _without_globs(atom) if kind == "method" else (atom, {})
        options = read_options(f"{kind} {atom.name}", getattr(module, "Options", None), own)
        return Bound(listing, module, atom, options, **globs)


_GIVEN_PREFIX = "tnbench_plugin_"
_GLOBS, _BETWEEN_GLOBS = ("skip", "only"), "|"
_DECLARED = ("VERSION", "NAMES", "PATTERN", "KIND")
_UNREADABLE = (SyntaxError, ValueError, TypeError, re.error)


def _without_globs(atom: Atom) -> tuple[Atom, dict[str, Any]]:
    """A method's atom without the options that say which layers it is for, and these, taken apart."""
    globs = {name: tuple(text.split(_BETWEEN_GLOBS)) for name, text in atom.options if name in _GLOBS}
    others = tuple(option for option in atom.options if option[0] not in _GLOBS)
    return replace(atom, options=others), globs


def _built_in(kind: str) -> tuple[Listing, ...]:
    folder = _PACKAGE / KINDS[kind]
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
    return tuple(
        listing
        for file in files
        for listing in _read(file, f"tnbench.{KINDS[kind]}.{file.stem}", kind, "tnbench", file.stem)
    )


def _installed(kind: str) -> tuple[Listing, ...]:
    listings: list[Listing] = []
    for entry in entry_points(group=f"tnbench.{KINDS[kind]}"):
        origin = entry.dist.name if entry.dist else entry.value
        path = _path_of(entry)
        if path is None:
            reason = f"its module {entry.value!r} is not there; reinstall {origin}"
            listings.append(Listing(kind, entry.name, reason, entry.value, Path(entry.value), 0, None, origin, reason))
        else:
            listings.extend(_read(path, entry.module, kind, origin, entry.name))
    return tuple(listings)


def _path_of(entry: EntryPoint) -> Path | None:
    if entry.dist is not None:
        base = Path(str(entry.dist.locate_file(entry.module.replace(".", "/"))))
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    try:
        spec = importlib.util.find_spec(entry.module)
    except Exception:  # finding a module runs the packages that it is in
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _read_given(file: Path) -> tuple[Listing, ...]:
    if not file.is_file():
        raise UsageError(f"--plugin: no file {file}; give the path of a Python file")
    module = f"{_GIVEN_PREFIX}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    try:
        kind = _literals(file).get("KIND", "")
    except _UNREADABLE as error:
        raise UsageError(f"--plugin {file}: {_what_is_wrong(error)}; mend the file") from None
    if kind not in KINDS:
        kinds = ", ".join(KINDS)
        raise UsageError(
            f'--plugin {file}: got KIND = {kind!r}, wanted one of {kinds}; add a line such as KIND = "method"'
        )
    return _read(file, module, kind, str(file), file.stem)


@cache
def _read(file: Path, module: str, kind: str, origin: str, name: str) -> tuple[Listing, ...]:
    """The listings of one file, which is `name` unless it declares names itself."""
    try:
        literals = _literals(file)
        version, summary = literals.get("VERSION", 1), literals["__doc__"]
        if "PATTERN" in literals:
            shown, pattern = literals["PATTERN"]
            re.compile(pattern)
            return (Listing(kind, shown, summary, module, file, version, pattern, origin),)
        names: dict[str, str] = dict(literals.get("NAMES", {name: summary}))
    except _UNREADABLE as error:
        reason = _what_is_wrong(error)
        return (Listing(kind, name, reason, module, file, 0, None, origin, reason),)
    return tuple(Listing(kind, name, text, module, file, version, None, origin) for name, text in names.items())


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return f"{', '.join(_DECLARED)} must be literals ({error})"


def _literals(file: Path) -> dict[str, Any]:
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    found: dict[str, Any] = {"__doc__": (ast.get_docstring(tree) or "").partition("\n")[0]}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id in _DECLARED:
            found[target.id] = ast.literal_eval(node.value) if node.value else None
    return found


def _import_file(name: str, path: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
