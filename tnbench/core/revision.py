"""The code that a record was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Revision:
    """A commit, and whether the package's files differed from it; of an installed package only its version."""

    commit: str | None
    dirty: bool
    version: str

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The revision in a record's provenance."""
        version = (facts.get("versions") or {}).get("tnbench", "unknown")
        return cls(facts.get("git_commit"), bool(facts.get("git_dirty")), str(version))

    def __str__(self) -> str:
        """Such as ``1a2b3c4d``, ``1a2b3c4d with changes`` or ``tnbench 0.1.0 (installed)``."""
        if self.commit is None:
            return f"tnbench {self.version} (installed)"
        return self.commit[:8] + (" with changes" if self.dirty else "")
