"""The search for the first bad commit: git bisects in a worktree of its own, and is told of each commit what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from tnbench.core.errors import TnbenchError, UsageError
from tnbench.history.commits import Repository

Say = Callable[[str], None]
"""Takes a line of progress."""


class Ends(NamedTuple):
    """A good commit and a later bad one of a repository, by their full hashes."""

    repository: Repository
    good: str
    bad: str

    @classmethod
    def of(cls, repository: Repository, good: str, bad: str) -> Ends:
        """From any of their names. Raises UsageError for unknown ones, and unless the good one precedes the bad."""
        ends = cls(repository, repository.resolve(good), repository.resolve(bad))
        if ends.good == ends.bad:
            raise UsageError(
                f"--good {good} and --bad {bad}: both are {ends.good}, wanted an earlier and a later commit"
            )
        if not repository.precedes(ends.good, ends.bad):
            raise UsageError(f"--good {good}: it is no ancestor of --bad {bad}; {ends._how_to_order()}")
        return ends

    def _how_to_order(self) -> str:
        if self.repository.precedes(self.bad, self.good):
            return "swap them: the earlier commit is called good, whichever of them has the better number"
        return "give a commit that both have: git merge-base names their last"


class Answer(NamedTuple):
    """What git is told of a commit, and why."""

    word: Literal["good", "bad", "skip"]
    why: str


def first_bad(ends: Ends, judge: Callable[[Path], Answer], say: Say) -> str:
    """The full hash of the first bad commit; `judge` is given a checkout of each commit that git asks about.

    Raises TnbenchError, with the candidates, when only commits are left that were skipped.
    """
    repository = ends.repository
    with repository.worktree(ends.bad) as tree:
        repository.git("bisect", "start", ends.bad, ends.good, at=tree)
        while True:
            log = repository.git("bisect", "log", at=tree)
            if found := re.search(r"^# first bad commit: \[(\w+)\]", log, re.MULTILINE):
                return found[1]
            if left := _only_skipped(log):
                raise TnbenchError("\n  ".join(("only skipped commits are left; what was looked for is one of", *left)))
            word, why = judge(tree)
            say(f"{word:<4}  {repository.in_short(repository.git('rev-parse', 'HEAD', at=tree))}: {why}")
            _tell(repository, word, tree)


def _tell(repository: Repository, word: str, tree: Path) -> None:
    """Git calls it an error when only skipped commits are left; its log says so as well."""
    try:
        repository.git("bisect", word, at=tree)
    except TnbenchError:
        if not _only_skipped(repository.git("bisect", "log", at=tree)):
            raise


def _only_skipped(log: str) -> list[str]:
    candidates = re.findall(r"^# possible first bad commit: \[(\w+)\] (.*)", log, re.MULTILINE)
    return [f"{commit[:8]} {subject}" for commit, subject in candidates]
