"""What no parallel algorithm can beat: words that some rank has to send or receive, and speedups.

Memory-independent bounds, for inputs and outputs that are spread evenly over P ranks in one copy and work that is
shared evenly. All count words received by the busiest rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator


def matmul_words(sides: tuple[int, int, int], ranks: int) -> float:
    """Of a product of matrices n₁ x n₂ and n₂ x n₃, tight in its constants (Al Daas, Ballard, Grigori, Kumar and Rouse,
    "Tight memory-independent parallel matrix multiplication communication lower bounds", SPAA 2022, arXiv:2205.13407).

    >>> round(matmul_words((64, 64, 64), 8)), round(matmul_words((64, 64, 64), 1))
    (1536, 0)
    """
    k, n, m = sorted(sides)
    P = ranks
    if m >= P * n:
        accessed = (m * n + m * k) / P + n * k
    elif m * n >= P * k * k:
        accessed = 2 * math.sqrt(m * n * k * k / P) + m * n / P
    else:
        accessed = 3 * math.pow(m * n * k / P, 2 / 3)
    return max(0.0, accessed - (m * n + m * k + n * k) / P)


def matmul_grid_words(sides: tuple[int, int, int], grid: tuple[int, int, int]) -> float:
    """What the algorithm on a grid p₁ x p₂ x p₃ sends: all-gathers of both inputs, reduce-scatter of the product."""
    (a, b, c), (p, q, r) = sides, grid
    ranks = p * q * r
    return a * b / (p * q) + b * c / (q * r) + a * c / (p * r) - (a * b + b * c + a * c) / ranks


def best_matmul_grid(sides: tuple[int, int, int], ranks: int) -> tuple[int, int, int]:
    """The grid of `ranks` ranks that sends the fewest words.

    >>> best_matmul_grid((64, 64, 64), 8), best_matmul_grid((4096, 16, 16), 8)
    ((2, 2, 2), (8, 1, 1))
    """
    return min(_grids(ranks), key=lambda grid: matmul_grid_words(sides, grid))


def syrk_words(rows: int, columns: int, ranks: int) -> float:
    """Of A Aᵀ for A of `rows` x `columns`, half of which is computed (Al Daas, Ballard, Grigori, Kumar and Rouse,
    "Parallel memory-independent communication bounds for SYRK", SPAA 2023).

    A rank that makes its share L/2 = n₁(n₁-1)n₂/(2P) of the products below the diagonal touches x₁ words of A and x₂ of
    the result with x₁ √(2 x₂) ≥ L, and x₁ ≥ n₁n₂/P, since a word of A is in n₁-1 products. x₁ + x₂ is least at
    x₂ = L^(2/3)/2, within a rank's share of the triangle and (n₁-1)²/2, from where on x₁ falls no further.
    """
    triangle, P = rows * (rows - 1) / 2, ranks
    if not triangle or not columns:
        return 0.0
    L = 2 * triangle * columns / P
    of_result = max(min(math.pow(L, 2 / 3) / 2, (rows - 1) ** 2 / 2), triangle / P)
    of_input = max(L / math.sqrt(2 * of_result), rows * columns / P)
    return max(0.0, of_input + of_result - (triangle + rows * columns) / P)


def all_reduce_words(words: int, ranks: int) -> float:
    """Of an all-reduce: 2 (P-1)/P n, which a ring reaches (Patarasuk and Yuan, JPDC 2009)."""
    return 2 * (ranks - 1) / ranks * words


def all_reduce_messages(ranks: int) -> int:
    """Of an all-reduce, one after the other: ⌈log₂ P⌉, for one rank's word must reach all."""
    return math.ceil(math.log2(ranks))


def amdahl(serial_share: float, ranks: float) -> float:
    """The speedup over one rank where `serial_share` of its time is not shared (Amdahl, AFIPS 1967).

    >>> amdahl(0.0, 8), amdahl(1.0, 8)
    (8.0, 1.0)
    """
    if not 0 <= serial_share <= 1:
        raise ValueError(f"got a serial share of {serial_share:g}, wanted one from 0 to 1")
    return 1 / (serial_share + (1 - serial_share) / ranks)


def serial_share(speedup: float, ranks: float) -> float:
    """The serial share that `speedup` over one rank stands for (Karp and Flatt, CACM 1990); inverse of `amdahl`."""
    if ranks < 2:
        raise ValueError(f"got {ranks:g} rank, wanted at least 2, for one rank has no speedup")
    return (1 / speedup - 1 / ranks) / (1 - 1 / ranks)


def _grids(ranks: int) -> Iterator[tuple[int, int, int]]:
    for p in range(1, ranks + 1):
        if ranks % p == 0:
            rest = ranks // p
            yield from ((p, q, rest // q) for q in range(1, rest + 1) if rest % q == 0)
