"""A case: one cell of the grid, frozen, whose id is text that parses back to the same case."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tnbench.core.errors import UsageError
from tnbench.core.grammar import AXES, Atom, format_part, parse_part, split_outside_brackets

_SEED = re.compile(r"(?P<parts>.*)#(?P<seed>[0-9]+)", re.DOTALL)
EXAMPLE = "tucker2/x4/resnet20/cifar10/finetune/single#0"


@dataclass(frozen=True, order=True)
class Case:
    """Six names and a seed. Each part is kept in its canonical text.

    >>> Case.parse("cp[iters=200,solver=als]/x4/resnet20/cifar10/finetune/ddp:2#0").parallel
    'ddp:2'
    """

    method: str
    rank: str
    model: str
    dataset: str
    training: str
    parallel: str
    seed: int = 0

    def __post_init__(self) -> None:
        for axis in AXES:
            object.__setattr__(self, axis, format_part(axis, parse_part(axis, getattr(self, axis))))
        if self.seed < 0:
            raise UsageError(f"seed: got {self.seed}, wanted a whole number from 0 on")

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read a case id. Without ``#seed`` the seed is 0. Raises UsageError with an example of the form."""
        match = _SEED.fullmatch(text)
        parts, seed = (match["parts"], int(match["seed"])) if match else (text, 0)
        pieces = split_outside_brackets(parts, "/")
        if len(pieces) != len(AXES):
            raise UsageError(
                f"case: got {text!r} with {len(pieces)} parts, wanted {len(AXES)} ({'/'.join(AXES)}#seed), "
                f"such as {EXAMPLE!r}"
            )
        return cls(**dict(zip(AXES, pieces, strict=True)), seed=seed)

    @property
    def id(self) -> str:
        """The canonical text, such as ``tucker2/x4/resnet20/cifar10/finetune/single#0``."""
        return f"{'/'.join(self.part(axis) for axis in AXES)}#{self.seed}"

    def part(self, axis: str) -> str:
        """The text on one of the six axes."""
        return str(getattr(self, axis))

    def atoms(self, axis: str) -> tuple[Atom, ...]:
        """One axis taken apart into the plug-ins that it names."""
        return parse_part(axis, self.part(axis))

    def __str__(self) -> str:
        return self.id
