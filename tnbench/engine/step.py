"""One training step: a rank's share of a batch forward, backward, and the optimiser's move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Augmentation, Crew, Normalisation, Recipe
from tnbench.engine.augment import augment
from tnbench.engine.evaluate import normalise
from tnbench.engine.schedule import one_cycle
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


class Step:
    """A network, its optimiser and its pictures, ready to step. `wrapped` is the network as the crew trains it."""

    def __init__(
        self, wrapped: nn.Module, optimiser: torch.optim.Optimizer, data: Batches, recipe: Recipe, crew: Crew
    ) -> None:
        self._wrapped, self._optimiser = wrapped, optimiser
        self._data, self._recipe, self._crew = data, recipe, crew
        self._total = recipe.epochs * batches_per_epoch(len(data), recipe)

    def __call__(self, batch: Tensor, *, epoch: int, number: int) -> Tensor:
        """Take this rank's share of `batch` (indices, int64) down the gradient, as step `number` of the whole fit.

        The loss summed over the share comes back, detached, on the device.
        """
        recipe, crew = self._recipe, self._crew
        share = batch.tensor_split(crew.world)[crew.rank]
        inputs, labels = self._data.batch(share, recipe, epoch)
        _set_rate(self._optimiser, one_cycle(number, self._total, recipe.lr))
        # Ranks' gradients are averaged alike; with this weight their average is the mean over the global batch.
        weight = len(share) * crew.world / len(batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self._wrapped(inputs), labels)
        (weight * loss).backward()
        self._optimiser.step()
        return loss.detach() * len(share)


def optimiser_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; weight decay on weights only, not on parameters with one dimension."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def batches(n: int, recipe: Recipe, epoch: int) -> Iterator[Tensor]:
    """The epoch's global batches: indices (int64) of ceil(n / batch_size) parts of nearly equal size."""
    order = permutation(key(recipe.seed, epoch, _ORDER), n)
    yield from order.tensor_split(batches_per_epoch(n, recipe))


def batches_per_epoch(n: int, recipe: Recipe) -> int:
    """How many batches `n` pictures make."""
    return math.ceil(n / recipe.batch_size)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
