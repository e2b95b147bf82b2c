"""Running git: the same words from it whatever a user has configured, and wherever it is called from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tnbench.core.errors import TnbenchError

_PLAIN = ("-c", "color.ui=false", "-c", "log.showSignature=false", "-c", f"core.hooksPath={os.devnull}")
"""Without what a user may have set that adds to what git prints, and without hooks, which checkouts would run."""

_OF_HOOKS = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


class NoGit(TnbenchError):
    """There is no git on this machine."""


def git(folder: Path, *arguments: str) -> str:
    """What ``git arguments`` prints in a folder.

    Raises TnbenchError with git's own words where it fails, and NoGit where there is none.
    """
    try:
        done = subprocess.run(
            ("git", *_PLAIN, "-C", str(folder), *arguments),
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            env=outside_hooks(),
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise NoGit("git is not installed; install it, for commits are its business") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().removeprefix("fatal: ") or f"git ended with {error.returncode}"
        raise TnbenchError(f"git {arguments[0]}: {said}") from None
    return done.stdout.strip()


def outside_hooks() -> dict[str, str]:
    """The environment without what git sets for its hooks: there it names one repository, wherever git is run."""
    return {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
