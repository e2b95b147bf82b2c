"""Empirical variational Bayesian matrix factorisation: the rank of a matrix that is observed with noise."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

Array = NDArray[np.float64]

_GRID = 200


def evbmf_rank(values: Tensor, shape: tuple[int, int], noise: float | None = None) -> int:
    """How many of the singular `values` of a matrix of this `shape` are signal; 0 where all of it is noise.

    The global analytic solution of Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of
    fully-observed variational Bayesian matrix factorization", JMLR 14 (2013): priors are empirical, and component h
    stays exactly if its value is above sqrt(M noise x), where x depends on the aspect ratio alone (their Theorem 2).
    The variance of the `noise` of one entry is the one of least free energy, unless it is given.

    `values` are all min(L, M) of them, in any order. They are taken to be no smaller than their rounding, because
    without any noise the free energy has no minimum.

    >>> import torch
    >>> signal = torch.cat([torch.full((2,), 50.0), torch.linspace(12, 0.1, 38)]).double()
    >>> evbmf_rank(signal, (40, 60))
    2
    """
    L, M = min(shape), max(shape)
    gammas = np.sort(values.detach().double().cpu().numpy())[::-1]
    if len(gammas) != L:
        raise ValueError(f"got {len(gammas)} singular values of a matrix {shape[0]}×{shape[1]}, wanted {L}")
    if gammas[0] <= 0:
        return 0
    squares = np.maximum(gammas, gammas[0] * np.finfo(np.float64).eps) ** 2
    threshold = _threshold(L / M)
    variance = _noise(squares, L, M, threshold) if noise is None else noise
    return int((squares > M * variance * threshold).sum())


@cache
def _threshold(alpha: float) -> float:
    """x, above which a component stays: (1 + t)(1 + alpha / t) with the t > 0 where Φ(t) + Φ(t / alpha) is 0.

    Φ(z) = log(z + 1) / z - 1/2. t is about 2.5129 sqrt(alpha).
    """

    def excess(t: float) -> float:
        return math.log1p(t) / t + math.log1p(t / alpha) * alpha / t - 1

    root = float(brentq(excess, 0.1 * math.sqrt(alpha), 10 * math.sqrt(alpha), xtol=1e-14))
    return (1 + root) * (1 + alpha / root)


def _noise(squares: Array, L: int, M: int, threshold: float) -> float:
    """The variance of least free energy (their Theorem 3), within the bounds that it is known to keep.

    The free energy has several local minima: a grid finds the lowest valley, one-dimensional minimisation its bottom.
    """
    signals = min(math.ceil(L / (1 + L / M)) - 1, L - 1)
    low = max(squares[signals] / threshold, squares[signals:].mean()) / M
    high = squares.sum() / (L * M)
    if low >= high:
        return float(high)
    grid = np.geomspace(low, high, _GRID)
    lowest = int(np.argmin([_free_energy(variance, squares, L, M, threshold) for variance in grid]))
    bounds = grid[max(0, lowest - 1)], grid[min(_GRID - 1, lowest + 1)]
    found = minimize_scalar(
        _free_energy, bounds=bounds, args=(squares, L, M, threshold), method="bounded", options={"xatol": 1e-9 * low}
    )
    return float(found.x)


def _free_energy(variance: float, squares: Array, L: int, M: int, threshold: float) -> float:
    """Twice the free energy divided by M, but for a constant, at this noise variance."""
    alpha = L / M
    x = squares / (M * variance)
    signal = x[x > threshold]
    apart = signal - (1 + alpha)
    tau = (apart + np.sqrt(apart**2 - 4 * alpha)) / 2
    kept = np.log1p(tau) + alpha * np.log1p(tau / alpha) - tau
    return float((x - np.log(x)).sum() + kept.sum())
