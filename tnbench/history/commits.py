"""What git says about commits: full hashes, dates, and worktrees to run them from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.core.git import NoGit, git


@dataclass(frozen=True)
class Repository:
    """A git repository, by the top folder of its checkout."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that `folder` lies in. Raises UsageError where there is none, NoGit where there is no git."""
        try:
            return cls(Path(git(folder, "rev-parse", "--show-toplevel")))
        except NoGit:
            raise
        except TnbenchError as error:
            raise UsageError(f"{folder} lies in no git repository ({error}); run this inside a clone") from None

    def resolve(self, revision: str) -> str:
        """The full hash of a commit by any of its names. Raises UsageError for one that is not there."""
        if not revision.startswith("-"):  # git before 2.30 misreads --end-of-options
            with suppress(TnbenchError):
                return self.git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        raise UsageError(f"{revision!r} names no commit of {self.root}; see what is there with: git log --oneline")

    def knows(self, revision: str) -> bool:
        """Whether `revision` names a commit."""
        try:
            return bool(self.resolve(revision))
        except UsageError:
            return False

    def date(self, commit: str) -> int:
        """When its author made it, in seconds since 1970."""
        return int(self.git("show", "--no-patch", "--format=%at", commit))

    def subject(self, commit: str) -> str:
        """The first line of its message."""
        return self.git("show", "--no-patch", "--format=%s", commit)

    def in_short(self, commit: str) -> str:
        """Such as ``1a2b3c4d Add a solver``."""
        return f"{commit[:8]} {self.subject(commit)}"

    def description(self, commit: str) -> str:
        """Its hash, author, date and message, and how much of which files it changed, as ``git log --stat`` has it."""
        return self.git("log", "--max-count=1", "--first-parent", "-m", "--stat", commit)

    @property
    def shallow(self) -> bool:
        """Whether older commits are missing, as in a clone with ``--depth``."""
        return self.git("rev-parse", "--is-shallow-repository") == "true"

    def precedes(self, earlier: str, later: str) -> bool:
        """Whether the commit `earlier` is an ancestor of `later`."""
        return self._agrees("merge-base", "--is-ancestor", earlier, later)

    def holds(self, commit: str, path: Path) -> bool:
        """Whether there is a file or folder at `path`, relative to the top folder, in a commit."""
        return self._agrees("cat-file", "-e", f"{commit}:{'' if path == Path() else path.as_posix()}")

    @contextmanager
    def worktree(self, commit: str) -> Iterator[Path]:
        """A temporary checkout of `commit`, taken away afterwards; the repository's own files stay as they are."""
        with tempfile.TemporaryDirectory(prefix="tnbench-") as folder:
            tree = Path(folder).resolve() / "tree"
            try:
                self.git("worktree", "add", "--detach", "--quiet", str(tree), commit)
                yield tree
            finally:  # an interrupt may come before git has added it, and after
                if f"worktree {tree}" in self.git("worktree", "list", "--porcelain").splitlines():
                    self.git("worktree", "remove", "--force", str(tree))

    def git(self, *arguments: str, at: Path | None = None) -> str:
        """What ``git arguments`` prints, run at the top folder or elsewhere. Raises TnbenchError with git's words."""
        return git(at or self.root, *arguments)

    def _agrees(self, *arguments: str) -> bool:
        try:
            self.git(*arguments)
        except TnbenchError:
            return False
        return True
