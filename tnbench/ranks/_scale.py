"""What rank policies share: one fraction for all of a layer's ranks, and the choice to stay dense."""

from __future__ import annotations

from fractions import Fraction

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Candidate, Choice, KeepDense, Ranks


def scaled(largest: Ranks, fraction: Fraction) -> Ranks:
    """Every rank times `fraction`, rounded down, at least 1.

    >>> scaled((16, 48, 16), Fraction(1, 5))
    (3, 9, 3)
    """
    return tuple(max(1, int(rank * fraction)) for rank in largest)


def smaller_or_dense(candidate: Candidate, ranks: Ranks) -> Choice:
    """`ranks`, or the reason to stay dense where they save no weight."""
    weights = candidate.count(ranks)
    if weights < candidate.dense:
        return ranks
    shown = ",".join(map(str, ranks))
    return KeepDense(f"rank {shown} would take {weights:,} weights, dense takes {candidate.dense:,}")


def read_number(text: str, wanted: str) -> Fraction:
    """The exact number after the policy's letter. Raises UsageError that says what is `wanted`."""
    try:
        return Fraction(text[1:])
    except (ValueError, ZeroDivisionError):
        raise wrong(text, wanted) from None


def wrong(text: str, wanted: str) -> UsageError:
    """The error for a rank that means nothing."""
    return UsageError(f"rank: got {text!r}, wanted {wanted}")
