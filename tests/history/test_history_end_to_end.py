"""A clone of tnbench with three commits on top: everything sees the third slow a solver, and nothing sees idle ones.

It runs asv, `tnbench check` and `tnbench bisect` as a user does and takes minutes: ``pytest -m history``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.history, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
CASE = "tucker2/x4/resnet20/synthetic/scratch/threads:1#0"
BENCHMARK = "decomposition.Decomposition.time_decompose"
ONLY = rf"{BENCHMARK}\('tucker2.*"
WIDE = "decompose_s>30%"
"""Wide: a busy machine makes a solver slower by a third now and then, but not in six launches of both in turn."""

IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@localhost")

UNTRAINED = ("--suite", "asv", "--epochs", "0")

TWICE = '''

_once = factorise


def factorise(weight: Tensor, ranks: Ranks, **more: Any) -> Factors:
    """The same factors for twice the work."""
    _once(weight, ranks, **more)
    return _once(weight, ranks, **more)
'''


@dataclass(frozen=True)
class Clone:
    """A repository of its own: a base up to ``main~3``, and three commits on top."""

    root: Path
    slowed: bool

    def run(self, *command: str, code: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command at the clone's top folder, with the tnbench of `code` (default: the clone's own)."""
        environment = {**os.environ, "HOME": str(self.root.parent), "PYTHONPATH": str(code or self.root)}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def asv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "asv", *arguments)

    def tnbench(self, *arguments: str, code: Path | None = None) -> subprocess.CompletedProcess[str]:
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


@pytest.fixture(scope="module", params=["slowed", "idle"])
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = Clone(tmp_path_factory.mktemp("home") / "clone", slowed=request.param == "slowed")
    made.root.mkdir()
    copy_of_the_working_tree(made.root)
    made.git("init", "--quiet", "--initial-branch", "main")
    commit(made, "The base")
    made.git(*IDENTITY, "commit", "--quiet", "--allow-empty", "--message", "The base, still")
    for number, file in enumerate(("README.md", "docs/measuring.md"), start=1):
        with (made.root / file).open("a") as text:
            text.write(f"\nSentence {number}.\n")
        commit(made, f"Sentence {number}")
    solver = made.root / "tnbench/methods/tucker2.py"
    solver.write_text(solver.read_text() + (TWICE if made.slowed else "\n# Nothing of weight.\n"))
    commit(made, "The third commit")
    yield made
    shutil.rmtree(made.root)


def test_asv_shows_the_regression(clone: Clone) -> None:
    assert clone.asv("machine", "--yes").returncode == 0
    ran = clone.asv("run", "--bench", ONLY, "main~4..main")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    published = clone.asv("publish")
    assert published.returncode == 0, published.stdout + published.stderr
    found = json.loads((clone.root / ".asv/html/regressions.json").read_text())["regressions"]
    assert any(row[0].startswith(BENCHMARK) for row in found) is clone.slowed, found


def test_asv_continuous_exits_with_1(clone: Clone) -> None:
    done = clone.asv("continuous", "--factor", "1.5", "--bench", ONLY, "main~1", "main")
    assert done.returncode == int(clone.slowed), done.stdout + done.stderr


def test_the_gate_exits_with_1(clone: Clone, tmp_path: Path) -> None:
    before = tmp_path / "before"
    clone.git("worktree", "add", "--quiet", "--detach", str(before), "main~1")
    folders = ("--results", str(tmp_path / "results"), "--reports", str(tmp_path / "reports"))
    for launches in range(1, 7):  # in turn, so that a slow spell of the machine falls on both
        for code in (before, clone.root):
            ran = clone.tnbench("run", *UNTRAINED, "--case", CASE, "--launches", str(launches), *folders, code=code)
            assert ran.returncode == 0, ran.stdout + ran.stderr
    judged = clone.tnbench("check", "--against", "main~1", "--fail-on", WIDE, *folders[:2])
    assert judged.returncode == int(clone.slowed), judged.stdout + judged.stderr
    assert ("regressed" in judged.stdout) is clone.slowed


def test_bisect_names_the_commit(clone: Clone) -> None:
    found = clone.tnbench("bisect", CASE, *UNTRAINED, "--metric", "decompose_s", "--good", "main~3", "--bad", "main")
    if clone.slowed:
        assert found.returncode == 0, found.stdout + found.stderr
        assert clone.git("rev-parse", "main") in found.stdout
        assert "The third commit" in found.stdout
    else:
        assert found.returncode == 1, found.stdout + found.stderr
        assert "nothing to bisect" in found.stderr
