"""A clone of tnbench with three commits on top: everything sees the third slow a solver, and nothing sees idle ones.

It runs asv, `tnbench check` and `tnbench bisect` as a user does and takes minutes: ``pytest -m history``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

pytestmark = [pytest.mark.history, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
CASE = "tucker2/x4/cnn8/digits/scratch/threads:1#0"
BENCHMARK = "decomposition.Decomposition.time_decompose"
ONLY = rf"{BENCHMARK}\('tucker2.*"
WIDE = "decompose_s>30%"
"""Wide: a busy machine makes a solver slower by a third now and then, but not in six launches of both in turn."""

Done = subprocess.CompletedProcess[str]
Given = TypeVar("Given")

IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@localhost")

UNTRAINED = ("--device", "cpu", "--epochs", "0")

SLOWER = '''

_once = factorise


def factorise(weight: Tensor, ranks: Ranks, **more: Any) -> Factors:
    """The same factors for five times the work."""
    for _ in range(4):
        _once(weight, ranks, **more)
    return _once(weight, ranks, **more)
'''


@dataclass(frozen=True)
class Clone:
    """A repository of its own: a base, ``main~3``, and three commits on top."""

    root: Path
    slowed: bool

    def run(self, *command: str, code: Path | None = None) -> Done:
        """Run a command at the clone's top folder, with the tnbench of `code` (default: the clone's own)."""
        environment = {**os.environ, "HOME": str(self.root.parent), "PYTHONPATH": str(code or self.root)}
        environment["OMP_NUM_THREADS"] = "1"  # both clones run at once: more threads than cores wait for each other
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def asv(self, *arguments: str) -> Done:
        return self.run(sys.executable, "-m", "asv", *arguments)

    def tnbench(self, *arguments: str, code: Path | None = None) -> Done:
        return self.run(sys.executable, "-P", "-c", "from tnbench.cli import main; main()", *arguments, code=code)

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def commit(clone: Clone, message: str) -> None:
    clone.git("add", "--all")
    clone.git(*IDENTITY, "commit", "--quiet", "--message", message)


def copy_of_the_working_tree(folder: Path) -> None:
    listed = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def new_clone(folder: Path, *, slowed: bool) -> Clone:
    made = Clone(folder / "clone", slowed)
    made.root.mkdir()
    copy_of_the_working_tree(made.root)
    made.git("init", "--quiet", "--initial-branch", "main")
    commit(made, "The base")
    for number, file in enumerate(("README.md", "docs/measuring.md"), start=1):
        with (made.root / file).open("a") as text:
            text.write(f"\nSentence {number}.\n")
        commit(made, f"Sentence {number}")
    solver = made.root / "tnbench/methods/tucker2.py"
    solver.write_text(solver.read_text() + (SLOWER if slowed else "\n# Nothing of weight.\n"))
    commit(made, "The third commit")
    return made


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Clone]]:
    """One whose third commit slows a solver, and one whose third commit does not."""
    made = {name: new_clone(tmp_path_factory.mktemp(name), slowed=name == "slowed") for name in ("slowed", "idle")}
    yield made
    for clone in made.values():
        shutil.rmtree(clone.root)


def in_each(clones: dict[str, Clone], work: Callable[[Clone], Given]) -> tuple[Given, Given]:
    """What `work` gives in the slowed clone and in the idle one. They go beside one another: a case has one thread."""
    with ThreadPoolExecutor() as pool:
        slowed, idle = pool.map(work, (clones["slowed"], clones["idle"]))
    return slowed, idle


def regressions(clone: Clone) -> list[str]:
    """Names of the benchmarks that asv's site shows as slower."""
    for command in (
        ("machine", "--yes"),
        ("run", "--interleave-rounds", "--bench", ONLY, "main~3..main"),
        ("publish",),
    ):
        done = clone.asv(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    return [row[0] for row in json.loads((clone.root / ".asv/html/regressions.json").read_text())["regressions"]]


def test_asv_shows_the_regression(clones: dict[str, Clone]) -> None:
    slowed, idle = in_each(clones, regressions)
    assert any(name.startswith(BENCHMARK) for name in slowed), slowed
    assert not any(name.startswith(BENCHMARK) for name in idle), idle


def continued(clone: Clone) -> Done:
    return clone.asv("continuous", "--factor", "1.5", "--bench", ONLY, "main~1", "main")


def test_asv_continuous_exits_with_1(clones: dict[str, Clone]) -> None:
    slowed, idle = in_each(clones, continued)
    assert slowed.returncode == 1, slowed.stdout + slowed.stderr
    assert idle.returncode == 0, idle.stdout + idle.stderr


def judged(clone: Clone) -> Done:
    """The gate's word on the last commit, after six launches of it and of its parent."""
    home = clone.root.parent
    clone.git("worktree", "add", "--quiet", "--detach", str(home / "before"), "main~1")
    folders = ("--results", str(home / "results"), "--reports", str(home / "reports"))
    for launches in range(1, 7):  # in turn, so that a slow spell of the machine falls on both
        for code in (home / "before", clone.root):
            ran = clone.tnbench("run", *UNTRAINED, "--case", CASE, "--launches", str(launches), *folders, code=code)
            assert ran.returncode == 0, ran.stdout + ran.stderr
    return clone.tnbench("check", "--against", "main~1", "--fail-on", WIDE, *folders[:2])


def test_the_gate_exits_with_1(clones: dict[str, Clone]) -> None:
    slowed, idle = in_each(clones, judged)
    assert slowed.returncode == 1, slowed.stdout + slowed.stderr
    assert "1 regressed" in slowed.stdout
    assert idle.returncode == 0, idle.stdout + idle.stderr
    assert "1 passed" in idle.stdout


def bisected(clone: Clone) -> Done:
    return clone.tnbench("bisect", CASE, *UNTRAINED, "--metric", "decompose_s", "--good", "main~3", "--bad", "main")


def test_bisect_names_the_commit(clones: dict[str, Clone]) -> None:
    slowed, idle = in_each(clones, bisected)
    assert slowed.returncode == 0, slowed.stdout + slowed.stderr
    assert f"commit {clones['slowed'].git('rev-parse', 'main')}" in slowed.stdout
    assert idle.returncode == 1, idle.stdout + idle.stderr
    assert "nothing to bisect" in idle.stderr
