"""Normalisations that have a name, so that a published checkpoint can be given the one that it was trained with.

Imports no torch: a data set names its own from here, and its digest must come without torch.
"""

from __future__ import annotations

from tnbench.core.errors import UsageError, unknown
from tnbench.core.protocols import Normalisation

NORMALISATIONS = {
    "none": Normalisation((0.0,), (1.0,)),
    "half": Normalisation((0.5,), (0.5,)),
    "digits": Normalisation((0.3053,), (0.3763,)),
    "mnist": Normalisation((0.1307,), (0.3081,)),
    "cifar10": Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Normalisation((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
    "fashion_mnist": Normalisation((0.2860,), (0.3530,)),
    "svhn": Normalisation((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of pixels scaled to [0, 1]: one per channel, or a single one for every channel.

``none`` leaves [0, 1] as it is, ``half`` gives [-1, 1]; the others are those of the training pictures.
"""


def named_normalisation(name: str) -> Normalisation:
    """The normalisation called `name`. Raises UsageError with the nearest name."""
    if name not in NORMALISATIONS:
        raise UsageError(unknown("normalisation", name, NORMALISATIONS))
    return NORMALISATIONS[name]
