"""What rank policies share: one fraction for all of a layer's ranks, multiples, and the choice to stay dense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import overload

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Candidate, Choice, KeepDense, Ranks


@dataclass(frozen=True)
class Multiples:
    """`multiple`: ranks of at least so many are multiples of it, such as 8 or 16 for the sake of the hardware."""

    multiple: int = 1

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise UsageError(f"rank: got multiple = {self.multiple}, wanted a whole number from 1 on, such as 8")


def scaled(largest: Ranks, fraction: Fraction, multiple: int = 1) -> Ranks:
    """Every rank times `fraction`, rounded down, at least 1; from `multiple` on to a multiple of it.

    >>> scaled((16, 48, 16), Fraction(1, 5))
    (3, 9, 3)
    >>> scaled((16, 48, 16), Fraction(1, 5), 4)
    (3, 8, 3)
    """
    return in_multiples(tuple(max(1, int(rank * fraction)) for rank in largest), multiple)


def in_multiples(ranks: Ranks, multiple: int) -> Ranks:
    """`ranks`, those of at least `multiple` rounded down to a multiple of it.

    >>> in_multiples((5, 8, 30), 8)
    (5, 8, 24)
    """
    return tuple(rank - rank % multiple if rank >= multiple else rank for rank in ranks)


def allowed(largest: int, multiple: int = 1) -> Sequence[int]:
    """Every rank up to `largest` that `in_multiples` leaves as it is, rising.

    >>> allowed(20, 8)
    [1, 2, 3, 4, 5, 6, 7, 8, 16]
    """
    if multiple == 1:
        return range(1, largest + 1)  # of magnitude pruning's one rank there are as many as weights
    return [*range(1, min(multiple, largest + 1)), *range(multiple, largest + 1, multiple)]


def uniform_steps(largest: Ranks, multiple: int = 1) -> Sequence[Ranks]:
    """All that `scaled` can give, rising: only at the fractions r / largest does any rank change."""
    if len(set(largest)) == 1:
        return _Alike(len(largest), allowed(largest[0], multiple))
    fractions = sorted({Fraction(rank, most) for most in largest for rank in range(1, most + 1)})
    return list(dict.fromkeys(scaled(largest, fraction, multiple) for fraction in fractions))


class _Alike(Sequence[Ranks]):
    """Tuples of equal ranks, made when they are asked for."""

    def __init__(self, length: int, ranks: Sequence[int]) -> None:
        self._length, self._ranks = length, ranks

    def __len__(self) -> int:
        return len(self._ranks)

    @overload
    def __getitem__(self, at: int) -> Ranks: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Ranks]: ...
    def __getitem__(self, at: int | slice) -> Ranks | Sequence[Ranks]:
        if isinstance(at, slice):
            return _Alike(self._length, self._ranks[at])
        return (self._ranks[at],) * self._length


def least(candidate: Candidate) -> Ranks:
    """Every rank 1."""
    return tuple(1 for _ in candidate.largest)


def smaller_or_dense(candidate: Candidate, ranks: Ranks) -> Choice:
    """`ranks`, or the reason to stay dense where they save no weight."""
    weights = candidate.count(ranks)
    if weights < candidate.dense:
        return ranks
    return KeepDense(f"rank {shown(ranks)} would take {weights:,} weights, dense takes {candidate.dense:,}")


def shown(ranks: Ranks) -> str:
    """Ranks as messages have them: ``9,9``."""
    return ",".join(map(str, ranks))


def rounded_down(ratio: float) -> str:
    """A ratio with one decimal that is no more than it."""
    return f"{int(ratio * 10) / 10:g}"


def read_number(text: str, prefix: str, wanted: str) -> Fraction:
    """The exact number after the policy's `prefix`. Raises UsageError that says what is `wanted`."""
    try:
        return Fraction(text.removeprefix(prefix))
    except (ValueError, ZeroDivisionError):
        raise wrong(text, wanted) from None


def wrong(text: str, wanted: str) -> UsageError:
    """The error for a rank that means nothing."""
    return UsageError(f"rank: got {text!r}, wanted {wanted}")
