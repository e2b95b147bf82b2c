"""CP by way of a Tucker core: sweeps on a small tensor, then a few on the whole one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from tnbench.linalg.cp import Columns, balanced, cp_als, gathered, refine
from tnbench.linalg.multilinear import mode_product, unfold
from tnbench.linalg.range_finder import range_finder

_POLISH, _POLISH_WINDOW = 10, 2


def candelinc(
    tensor: Tensor,
    rank: int,
    *,
    seed: int,
    start: Columns | None = None,
    max_sweeps: int = 100,
    tolerance: float = 1e-3,
    enough: float = 0.0,
    penalty: float = 1e-3,
) -> Columns:
    """As `tnbench.linalg.cp.cp_als`, but faster where sides are longer than R = `rank`.

    R columns span at most R dimensions of a mode, so modes longer than 5/4 R are first cut to so many dimensions, those
    of the leading singular vectors as a range finder sees them, and at most half of the sweeps are spent on that core.
    At most ten sweeps over the whole tensor, as long as two of them gain more than `tolerance`, then let the columns
    leave those dimensions; with `enough` as many as it takes, up to `max_sweeps` (Carroll, Pruzansky and Kruskal,
    "CANDELINC: a general approach to multidimensional analysis of many-way arrays with linear constraints on
    parameters", 1980; Bro and Andersson, "Improving the speed of multiway algorithms, part II: compression", 1998).

    It is `cp_als` itself where the core would be more than a quarter of the tensor, or where there is a `start`,
    which the core could not hold.
    """
    sides = tuple(min(side, rank + rank // 4) for side in tensor.shape)
    if start is not None or 4 * math.prod(sides) > tensor.numel():
        return cp_als(
            tensor,
            rank,
            seed=seed,
            start=start,
            max_sweeps=max_sweeps,
            tolerance=tolerance,
            enough=enough,
            penalty=penalty,
        )
    solve = partial(cp_als, rank=rank, seed=seed, max_sweeps=-(-max_sweeps // 2), tolerance=tolerance, penalty=penalty)
    polish = partial(refine, tensor, enough=enough, penalty=penalty)
    terms = through_core(tensor, sides, solve, enough, seed=seed)
    if enough:
        return balanced(polish(terms, max_sweeps=max_sweeps, tolerance=0.0))
    return balanced(polish(terms, max_sweeps=min(max_sweeps, _POLISH), tolerance=tolerance, window=_POLISH_WINDOW))


def through_core(
    tensor: Tensor, sides: Sequence[int], solve: Callable[..., Columns], enough: float, *, seed: int
) -> Columns:
    """The terms that `solve` finds for the Tucker core of `sides`, as columns for the whole tensor.

    `enough` is the relative error of the whole at which `solve` may stop; it is told the core's.
    """
    core, bases = tensor, {}
    for mode, side in enumerate(sides):
        if side < tensor.shape[mode]:
            bases[mode] = range_finder(unfold(core, mode), side, seed=seed, oversample=0, power=1)
            core = mode_product(core, bases[mode].T, mode)
    share = float(core.norm() / tensor.norm()) if bool(core.any()) else 1.0
    # What was cut away adds to the error: error² = 1 - share² + share² (error of the core)².
    within = math.sqrt(max(enough**2 - (1 - share**2), 0)) / share
    terms = solve(core, enough=within)
    return gathered(
        [bases[mode].double() @ terms[mode] if mode in bases else terms[mode] for mode in range(len(sides))]
    )
