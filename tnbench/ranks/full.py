"""The rank of the dense network: nothing is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Candidate, Choice, Probe

VERSION = 1


def check(text: str) -> None:
    """`full` always means something."""


def choose(text: str, options: Any, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """No ranks. Raises NotApplicable for a method that has some."""
    if any(candidate.largest for candidate in candidates):
        raise NotApplicable("full is dense's rank; choose one such as x4, f0.5 or k16 for another method")
    return [() for _ in candidates]
