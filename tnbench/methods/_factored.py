"""What methods over factorised channels share: sizes as products of factors, and how they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from tnbench.core.errors import UsageError

Sizes = tuple[int, ...]


@cache
def balanced(size: int, d: int) -> Sizes:
    """The `d` factors of `size` with the least sum, in falling order; a prime has only itself and ones.

    >>> balanced(4096, 3), balanced(12, 3), balanced(7, 2)
    ((16, 16, 16), (3, 2, 2), (7, 1))
    """
    if d == 1:
        return (size,)
    divisors = {part for low in range(1, math.isqrt(size) + 1) if size % low == 0 for part in (low, size // low)}
    splits = (sorted((first, *balanced(size // first, d - 1)), reverse=True) for first in divisors)
    return tuple(min(splits, key=lambda factors: (sum(factors), factors)))


def prime_factors(size: int) -> int:
    """Number of prime factors of `size`, with repetitions: the most factors above 1."""
    count, divisor = 0, 2
    while size > 1:
        while size % divisor == 0:
            size //= divisor
            count += 1
        divisor = divisor + 1 if divisor * divisor <= size else max(size, 2)
    return count


def pairs(shape: Sequence[int], inp: Sizes, out: Sizes, d: int) -> tuple[Sizes, Sizes]:
    """Factors of O and of I, as many of the one as of the other: those asked for, or balanced ones.

    Balanced ones are at most `d`, and fewer (but two) where both sizes have none left. Those of I fall and those of O
    rise: so the first products take most of the input away and the last ones give most of the output.
    """
    O, I = shape[:2]
    d = len(inp or out) or min(d, max(2, prime_factors(O) + prime_factors(I)))
    return out or balanced(O, d)[::-1], inp or balanced(I, d)


def misfit(shape: Sequence[int], inp: Sizes, out: Sizes) -> str | None:
    """Why the factors asked for do not make up the sizes of a layer; None if they do."""
    for size, factors, name in ((shape[1], inp, "inputs"), (shape[0], out, "outputs")):
        if factors and math.prod(factors) != size:
            return f"its {size} {name} are not {'x'.join(map(str, factors))} = {math.prod(factors)}"
    return None


def check(method: str, inp: Sizes, out: Sizes, least: int) -> None:
    """Raise UsageError unless `inp` and `out` are empty or lists of `least` or more factors."""
    for name, factors in (("inp", inp), ("out", out)):
        if factors and (len(factors) < least or min(factors) < 1):
            got = "x".join(map(str, factors))
            raise UsageError(f"method {method}: got {name} = {got}, wanted {least} or more factors, such as 4x8x8")
