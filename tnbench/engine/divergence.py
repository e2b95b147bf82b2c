"""When a training counts as diverged: its loss is no number, or far above that of guessing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tnbench.core.errors import Diverged
from tnbench.core.protocols import Recipe

EXPLOSION = 10
"""Most of an epoch's mean cross-entropy over ln(classes), that of equal scores. The first epoch may start anywhere."""


def check_converging(loss: Sequence[float], cross_entropy: float, classes: int, recipe: Recipe) -> None:
    """Raise Diverged for the last epoch of those whose mean losses are `loss`.

    `cross_entropy` is its mean without what a guide adds.
    """
    epoch, last = len(loss), loss[-1]
    guessing = math.log(max(classes, 2))
    if not math.isfinite(last) or not math.isfinite(cross_entropy):
        said = f"the loss is {last}"
    elif epoch > 1 and cross_entropy > EXPLOSION * guessing:
        said = f"the cross-entropy is {cross_entropy:.3g}, above {EXPLOSION} times that of guessing ({guessing:.2f}),"
    else:
        return
    raise Diverged(
        f"{said} in epoch {epoch} of {recipe.epochs} at a peak rate of {recipe.lr:g}; "
        f"a lower rate may help (--lr for cases, --baseline-lr for baselines)",
        [value for value in loss if math.isfinite(value)],
    )
