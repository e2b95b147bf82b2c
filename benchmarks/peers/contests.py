"""All contests."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from .contest import Contest
from .layers import layer_contests
from .realised import realised_contests
from .solvers import solver_contests


def contests() -> list[Contest]:
    """Every contest, in the order in which they are shown."""
    return [*solver_contests(), *layer_contests(), *realised_contests()]


def matching(globs: Iterable[str]) -> list[Contest]:
    """The contests whose names fit any glob. Raises ValueError for a glob that fits none."""
    known, globs = contests(), list(globs)
    for glob in globs:
        if not any(fnmatchcase(contest.name, glob) for contest in known):
            raise ValueError(f"no contest fits {glob!r}; there are {', '.join(contest.name for contest in known)}")
    return [contest for contest in known if any(fnmatchcase(contest.name, glob) for glob in globs)]
