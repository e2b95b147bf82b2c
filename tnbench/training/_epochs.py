"""How trainings count and share out their epochs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from tnbench.core.errors import NotApplicable, UsageError

if TYPE_CHECKING:
    from tnbench.core.settings import Settings

Epochs = Literal["own", "total"]
"""The settings' own, or in total as many as a baseline and its fine-tuning have together."""


def from_scratch(settings: Settings, epochs: Epochs) -> int:
    """Epochs of a training that starts from random weights."""
    return settings.epochs + (settings.baseline_epochs if epochs == "total" else 0)


def shared(epochs: int, share: float) -> tuple[int, int]:
    """`epochs` in two phases, of which the first gets `share` (as it is written in decimals), rounded up.

    Raises NotApplicable where epochs are shared and the second phase is left without any.

    >>> shared(5, 0.5), shared(3, 1), shared(0, 0.5), shared(100, 0.55)
    ((3, 2), (3, 0), (0, 0), (55, 45))
    """
    first = math.ceil(epochs * Fraction(repr(share)))
    if first == epochs > 0 and share < 1:
        few, lower = ("s", ", lower share") if epochs > 1 else ("", "")
        raise NotApplicable(
            f"of {epochs} epoch{few} in all, share = {share:g} rounded up leaves none to train the factors; "
            f"raise --epochs{lower}, or take share=1 where they are not to be trained"
        )
    return first, epochs - first


def evenly(epochs: int, steps: int) -> list[int]:
    """`epochs` in `steps` phases of one or more, the longer ones last. Raises NotApplicable where there are too few.

    >>> evenly(5, 3)
    [1, 2, 2]
    """
    if epochs < steps:
        raise NotApplicable(
            f"{steps} steps of an epoch or more want {steps} epochs in total, got {epochs}; raise --epochs, or take "
            f"fewer steps or epochs=each"
        )
    return [epochs * (step + 1) // steps - epochs * step // steps for step in range(steps)]


def check_share(training: str, share: float) -> None:
    """Raise UsageError unless a share is above 0 and up to 1."""
    if not 0 < share <= 1:
        raise UsageError(f"training {training}: got share = {share:g}, wanted a share of the epochs, 0 < share <= 1")
