"""Training pictures as a fit takes them: each epoch's order, cut into batches, augmented and normalised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tnbench.core.protocols import Augmentation, Normalisation, Recipe
from tnbench.engine.augment import augment
from tnbench.engine.evaluate import normalise
from tnbench.engine.splitmix import key, permutation

_ORDER = 0


@dataclass(frozen=True)
class Batches:
    """Training pictures (N, C, H, W), uint8, and labels (N,) on the device, and how a batch is made of them."""

    pictures: Tensor
    labels: Tensor
    normalisation: Normalisation
    augmentation: Augmentation
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor, recipe: Recipe, epoch: int) -> tuple[Tensor, Tensor]:
        """The augmented, normalised pictures at `indices`, and their labels."""
        indices = indices.to(self.pictures.device)
        augmented = augment(
            self.pictures[indices], indices, seed=recipe.seed, epoch=epoch, augmentation=self.augmentation
        )
        return normalise(augmented, self.normalisation, self.dtype), self.labels[indices]


def batches(n: int, recipe: Recipe, epoch: int) -> Iterator[Tensor]:
    """The epoch's global batches: indices (int64) of ceil(n / batch_size) parts of nearly equal size."""
    order = permutation(key(recipe.seed, epoch, _ORDER), n)
    yield from order.tensor_split(batches_per_epoch(n, recipe))


def batches_per_epoch(n: int, recipe: Recipe) -> int:
    """How many batches `n` pictures make."""
    return math.ceil(n / recipe.batch_size)
