"""Small git repositories, made commit by commit, and a tnbench small enough to be in them; for tests of bisection."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tnbench.history.commits import Repository

_ME = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")

SMALL_TNBENCH = {
    "tnbench/__init__.py": "",
    "tnbench/cli.py": '''"""Runs nothing: what is recorded stands in the file ``record.json`` beside the package."""

import json
import os
import pathlib
import subprocess
import sys
import time
import uuid


def main():
    words = sys.argv[1:]
    root = pathlib.Path(__file__).parent.parent
    found = json.loads((root / "record.json").read_text())
    if "sleep" in found:
        pathlib.Path(found["sleep"]).write_text(str(os.getpid()))
        time.sleep(600)
    if "refuse" in found:
        sys.exit(found["refuse"])
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    provenance = {"git_commit": head, "git_dirty": False, "words": words, "path": sys.path, "cwd": os.getcwd()}
    record = {"case": "a/b/c/d/e/f#0", "key": "k", "status": "ok", "schema": 1, "metrics": {}, "settings": {}}
    record |= {"kind": "record", "id": uuid.uuid4().hex, "at": str(time.time_ns()), "provenance": provenance}
    folder = pathlib.Path(words[words.index("--results") + 1]) / "segments"
    folder.mkdir(parents=True, exist_ok=True)
    provenance |= found.pop("provenance", {})
    (folder / f"{uuid.uuid4().hex}.jsonl").write_text(json.dumps(record | found) + "\\n")
''',
}
"""A package that takes the words of ``tnbench run`` and leaves a record within a moment."""


def new_repository(folder: Path) -> Repository:
    """One without commits."""
    folder.mkdir(parents=True)
    subprocess.run(("git", "-C", str(folder), "init", "--quiet", "--initial-branch", "main"), check=True)
    return Repository.around(folder)


def commit(repository: Repository, subject: str, **files: str) -> str:
    """Write files, commit all there is, and give the full hash."""
    for name, text in files.items():
        (repository.root / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.root / name).write_text(text, encoding="utf-8")
    repository.git("add", "--all")
    repository.git(*_ME, "commit", "--quiet", "--allow-empty", "--message", subject)
    return repository.resolve("HEAD")


def merge(repository: Repository, branch: str, *options: str) -> str:
    """Merge a branch into the current one with a commit of its own, and give the full hash."""
    repository.git(*_ME, "merge", "--quiet", "--no-ff", "--message", f"Merge {branch}", *options, branch)
    return repository.resolve("HEAD")


def traces(repository: Repository) -> list[str]:
    """Everything of git's that a search could leave behind or change."""
    shown = [repository.git(*words) for words in (("worktree", "list"), ("for-each-ref",), ("status", "--porcelain"))]
    own = repository.root / ".git"
    return [*shown, *(str(path.relative_to(own)) for name in ("BISECT*", "worktrees/*") for path in own.glob(name))]
