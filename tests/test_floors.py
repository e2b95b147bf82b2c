"""The floors of docs/design.md hold: a module imports only from its own and lower floors."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tnbench"

FLOORS = (
    ("core",),
    ("linalg", "layers", "distributed", "measure", "engine", "store"),
    ("methods", "ranks", "models", "datasets", "training", "parallel"),
    ("stages",),
    ("sweep", "suites"),
    ("reporting", "history"),
    ("cli", "testing", "pytest_plugin", "__init__"),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
PLUGINS = FLOORS[2]


def room_of(file: Path, package: Path) -> str:
    return file.relative_to(package).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Absolute names of everything imported, but for blocks under ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)
        yield from imported_modules(node)


def violations(package: Path) -> list[str]:
    """A sentence for each import that breaks the floors."""
    found = []
    for file in sorted(package.rglob("*.py")):
        room = room_of(file, package)
        for name in imported_modules(ast.parse(file.read_text())):
            reason = _broken(file, room, name)
            if reason:
                found.append(f"{file.relative_to(package)} imports {name}: {reason}")
    return found


def _broken(file: Path, room: str, name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "":
        return "imports are absolute"
    if parts[0] != "tnbench":
        return (
            "core is the standard library only" if room == "core" and parts[0] not in sys.stdlib_module_names else None
        )
    target = parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__"
    if LEVEL[target] > LEVEL[room]:
        return f"{target} is on a higher floor than {room}"
    other = parts[2] if len(parts) > 2 else ""
    if room in PLUGINS and target in PLUGINS and other != file.stem and not other.startswith("_"):
        return "a plug-in imports no other plug-in"
    return None


def test_the_floors_hold() -> None:
    assert violations(PACKAGE) == []


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(file, PACKAGE) for file in PACKAGE.rglob("*.py")}
    assert rooms <= set(LEVEL)


def test_the_floors_test_can_fail(tmp_path: Path) -> None:
    bad = {
        "core/a.py": "import numpy",
        "engine/b.py": "from tnbench.stages.case import run_case",
        "methods/c.py": "def f():\n    from tnbench.methods.d import g",
        "methods/_helper.py": "x = 1",
        "methods/d.py": "from tnbench.methods._helper import x",
        "store/e.py": "from . import f",
        "stages/h.py": "from tnbench import compress",
        "ranks/i.py": "from tnbench.ranks import _scale",
        "ranks/_scale.py": "import tnbench.core.errors",
        "linalg/g.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tnbench.cli import main",
    }
    for name, text in bad.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert violations(tmp_path) == [
        "core/a.py imports numpy: core is the standard library only",
        "engine/b.py imports tnbench.stages.case.run_case: stages is on a higher floor than engine",
        "methods/c.py imports tnbench.methods.d.g: a plug-in imports no other plug-in",
        "stages/h.py imports tnbench.compress: __init__ is on a higher floor than stages",
        "store/e.py imports ..f: imports are absolute",
    ]
