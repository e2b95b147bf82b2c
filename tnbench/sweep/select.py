"""Selections such as ``method=tucker2,cp rank=x4``: all clauses must hold, any value of a clause may."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tnbench.core.case import Case
from tnbench.core.errors import UsageError, unknown
from tnbench.core.grammar import AXES, format_part, parse_part, split_outside_brackets
from tnbench.core.registry import Registry
from tnbench.sweep.names import FULL, check_part

SELECTABLE = (*AXES, "seed")
EXAMPLE = "method=tucker2,cp rank=x4"


@dataclass(frozen=True)
class Clause:
    """One axis and the values it may have; ``*`` and ``?`` are wild in them, brackets are not."""

    axis: str
    values: tuple[str, ...]

    def matches(self, case: Case) -> bool:
        text = str(getattr(case, self.axis))
        return any(re.fullmatch(_expression(value), text) for value in self.values)

    def __str__(self) -> str:
        return f"{self.axis}={','.join(self.values)}"


@dataclass(frozen=True)
class Selection:
    """Which cases are meant. Without clauses: all."""

    clauses: tuple[Clause, ...] = ()

    @classmethod
    def parse(cls, text: str | None, registry: Registry) -> Selection:
        """Read a selection. Raises UsageError, with the nearest, for an unknown axis or a name that nothing serves."""
        return cls(tuple(_parse_clause(clause, registry) for clause in (text or "").split()))

    def matches(self, case: Case) -> bool:
        """Whether `case` is selected. A clause on ranks keeps dense cases, which the others are compared with."""
        return all(clause.matches(case) or (clause.axis == "rank" and case.rank == FULL) for clause in self.clauses)

    def matches_exactly(self, case: Case) -> bool:
        """Whether every clause holds, those on ranks for dense cases too."""
        return all(clause.matches(case) for clause in self.clauses)

    def leaves_none(self, cases: Sequence[Case]) -> bool:
        """Whether nothing is left of `cases`, or nothing but the dense cases that a clause on ranks keeps."""
        meant = Selection(tuple(clause for clause in self.clauses if clause.axis != "rank"))
        if any(meant.matches(case) and case.rank != FULL for case in cases):
            return not any(self.matches_exactly(case) for case in cases)
        return not any(self.matches(case) for case in cases)

    def why_empty(self, cases: Sequence[Case]) -> str:
        """The sentence for a selection that leaves none of `cases`."""
        for clause in self.clauses:
            if Selection((clause,)).leaves_none(cases):
                return f"--select: {clause} leaves no case; on {clause.axis} there are: {_there(clause.axis, cases)}"
        axes = "; ".join(f"{clause.axis}: {_there(clause.axis, cases)}" for clause in self.clauses)
        return f"--select: {self} leaves no case, though each clause alone does; there are {axes}"

    def __str__(self) -> str:
        return " ".join(map(str, self.clauses))


def _parse_clause(text: str, registry: Registry) -> Clause:
    axis, equals, values = text.partition("=")
    if not equals or not values:
        raise UsageError(f"--select: got {text!r}, wanted axis=value,value such as {EXAMPLE!r}")
    if axis not in SELECTABLE:
        raise UsageError(f"--select: {unknown('axis', axis, SELECTABLE)}")
    return Clause(axis, tuple(_parse_value(axis, value, registry) for value in split_outside_brackets(values, ",")))


def _parse_value(axis: str, value: str, registry: Registry) -> str:
    if axis == "seed":
        if not re.fullmatch(r"[0-9*?]+", value):
            raise UsageError(f"--select: got seed={value}, wanted whole numbers such as seed=0,1")
        return value
    if "*" in value or "?" in value:
        return value
    check_part(axis, value, registry)
    return format_part(axis, parse_part(axis, value))


def _expression(value: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in value)


def _there(axis: str, cases: Iterable[Case]) -> str:
    return ", ".join(dict.fromkeys(str(getattr(case, axis)) for case in cases))
