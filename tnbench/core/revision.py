"""The code that a record was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_SOME = "some"


@dataclass(frozen=True)
class Revision:
    """A commit and `changes`, a digest of the package's files where they differ from it; else an installed version."""

    commit: str | None
    changes: str
    version: str

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The revision in a record's provenance. Old records say that there were changes, and not which."""
        commit, changes = facts.get("git_commit"), facts.get("git_changes") or _SOME
        version = "" if commit else str((facts.get("versions") or {}).get("tnbench", "unknown"))
        return cls(commit, changes if facts.get("git_dirty") else "", version)

    @property
    def dirty(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        """Such as ``1a2b3c4d``, ``1a2b3c4d with changes 5e6f7a8b`` or ``tnbench 0.1.0 (installed)``."""
        if self.commit is None:
            return f"tnbench {self.version} (installed)"
        told = f" {self.changes}" if self.changes != _SOME else ""
        return self.commit[:8] + (f" with changes{told}" if self.dirty else "")
