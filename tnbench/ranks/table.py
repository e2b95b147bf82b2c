"""Explicit ranks for each layer, from a table of its own: table[NAME]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tnbench.core.errors import UsageError, nearest
from tnbench.core.protocols import Candidate, Choice, KeepDense, Probe, Ranks
from tnbench.ranks._scale import Multiples, in_multiples, shown

VERSION = 1


@dataclass(frozen=True)
class Options(Multiples):
    """`bare`: the table's name, alone."""

    bare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.bare) != 1:
            got = f"{len(self.bare)} names ({', '.join(self.bare)})" if self.bare else "no name"
            raise UsageError(f"rank table: got {got}, wanted one table's name, such as 'table[resnet20_x4]'")


def check(text: str) -> None:
    """`table` means something with the name among its options, which they see to."""


def choose(text: str, options: Options, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
    """The table's ranks, whether they save weights or not; a layer that is not in it stays dense.

    Raises UsageError for a name that is no candidate, and for ranks that do not fit the layer.
    """
    (name,) = options.bare
    table = probe.table(name)
    names = [candidate.name for candidate in candidates]
    for layer in table:
        if layer not in names:
            raise UsageError(f"table {name!r}: {layer!r} is no layer that ranks are chosen for; {_hint(layer, names)}")
    return [_choose(name, candidate, table, options.multiple) for candidate in candidates]


def _choose(name: str, candidate: Candidate, table: Mapping[str, Ranks], multiple: int) -> Choice:
    if candidate.name not in table:
        return KeepDense(f"it is not in table {name!r}")
    ranks, largest = tuple(table[candidate.name]), candidate.largest
    where = f"table {name!r}, layer {candidate.name!r}: got rank {shown(ranks)}"
    if len(ranks) != len(largest):
        raise UsageError(f"{where}, wanted {len(largest)} of them, up to {shown(largest)}")
    if any(not 1 <= rank <= most for rank, most in zip(ranks, largest, strict=True)):
        raise UsageError(f"{where}, wanted each from 1 to at most {shown(largest)}")
    return in_multiples(ranks, multiple)


def _hint(layer: str, names: Sequence[str]) -> str:
    best = nearest(layer, names)
    return f"the nearest is {best!r}" if best else f"these are: {', '.join(names)}"
