"""What git says about commits: full hashes, dates, and worktrees to run them from."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tnbench.core.errors import TnbenchError, UsageError


@dataclass(frozen=True)
class Repository:
    """A git repository, by the top folder of its checkout."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that `folder` lies in. Raises UsageError where there is none."""
        try:
            return cls(Path(_git(folder, "rev-parse", "--show-toplevel")))
        except TnbenchError as error:
            raise UsageError(f"{folder} lies in no git repository ({error}); run this inside a clone") from None

    def resolve(self, revision: str) -> str:
        """The full hash of a commit by any of its names. Raises UsageError for one that is not there."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except TnbenchError:
            raise UsageError(
                f"{revision!r} names no commit of {self.root}; see what is there with: git log --oneline"
            ) from None

    def knows(self, revision: str) -> bool:
        """Whether `revision` names a commit."""
        try:
            return bool(self.resolve(revision))
        except UsageError:
            return False

    def date(self, commit: str) -> int:
        """When it was committed, in seconds since 1970."""
        return int(self.git("show", "--no-patch", "--format=%ct", commit))

    def subject(self, commit: str) -> str:
        """The first line of its message."""
        return self.git("show", "--no-patch", "--format=%s", commit)

    @contextmanager
    def worktree(self, commit: str) -> Iterator[Path]:
        """A temporary checkout of `commit`, taken away afterwards; the repository's own files stay as they are."""
        with tempfile.TemporaryDirectory(prefix="tnbench-") as folder:
            tree = Path(folder) / "tree"
            self.git("worktree", "add", "--detach", "--quiet", str(tree), commit)
            try:
                yield tree
            finally:
                self.git("worktree", "remove", "--force", str(tree))

    def git(self, *arguments: str, at: Path | None = None) -> str:
        """What ``git arguments`` prints, run at the top folder or elsewhere. Raises TnbenchError with git's words."""
        return _git(at or self.root, *arguments)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", "-C", str(folder), *arguments), capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise TnbenchError("git is not installed; install it, for commits are its business") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().removeprefix("fatal: ") or f"git ended with {error.returncode}"
        raise TnbenchError(f"git {arguments[0]}: {said}") from None
    return done.stdout.strip()
