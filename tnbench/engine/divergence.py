"""When a training counts as diverged: its loss is no number, or far above that of guessing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tnbench.core.errors import Diverged
from tnbench.core.protocols import Recipe

EXPLOSION = 10
"""Most of an epoch's mean cross-entropy over ln(classes), that of equal scores. A fit may start anywhere: its first
epoch does not count or, where it is the only one, counts from its middle on."""


def check_converging(
    loss: Sequence[float], cross_entropy: float, classes: int, recipe: Recipe, *, settled: float | None = None
) -> None:
    """Raise Diverged for the last epoch of those whose mean losses are `loss`.

    `cross_entropy` is its mean without what a guide adds, and `settled` that of the epoch's later half, None where it
    is too short to tell: the only epoch of a fit is judged by it.
    """
    epoch, last = len(loss), loss[-1]
    guessing, judged = math.log(max(classes, 2)), cross_entropy
    if epoch == 1:
        judged = settled if recipe.epochs == 1 and settled is not None else 0.0
    if not math.isfinite(last):
        said = f"the loss is {last}"
    elif not math.isfinite(cross_entropy):
        said = f"the cross-entropy is {cross_entropy}"
    elif judged > EXPLOSION * guessing:
        said = f"the cross-entropy is {judged:.3g}, above {EXPLOSION} times that of guessing ({guessing:.2f}),"
    else:
        return
    raise Diverged(
        f"{said} in epoch {epoch} of {recipe.epochs} at a peak rate of {recipe.lr:g}; "
        f"a lower rate may help (--lr for cases, --baseline-lr for baselines)",
        [value for value in loss if math.isfinite(value)],
    )
