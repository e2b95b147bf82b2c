"""One training step: a rank's share of a batch forward, backward, and the optimiser's move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Crew, Guide, Recipe
from tnbench.engine.batches import Batches, batches_per_epoch
from tnbench.engine.schedule import one_cycle


class Step:
    """A network, its optimiser and its pictures, ready to step. `wrapped` is the network as the crew trains it."""

    def __init__(
        self,
        model: nn.Module,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        data: Batches,
        recipe: Recipe,
        crew: Crew,
        guide: Guide | None = None,
    ) -> None:
        self._model, self._wrapped, self._optimiser = model, wrapped, optimiser
        self._data, self._recipe, self._crew = data, recipe, crew
        self._guide = Guide() if guide is None else guide
        self._total = recipe.epochs * batches_per_epoch(len(data), recipe)

    def __call__(self, batch: Tensor, *, epoch: int, number: int) -> Tensor:
        """Take this rank's share of `batch` (indices, int64) down the gradient, as step `number` of the whole fit.

        The loss summed over the share comes back, detached, on the device.
        """
        share = batch.tensor_split(self._crew.world)[self._crew.rank]
        inputs, labels = self._data.batch(share, self._recipe, epoch)
        rate = one_cycle(number, self._total, self._recipe.lr)
        evaluate = partial(self._evaluate, inputs, labels, len(share) * self._crew.world / len(batch))
        loss = self._guide.take(self._model, evaluate, rate)
        if loss is None:
            loss = self._descend(evaluate, rate)
        self._guide.after_step(self._model)
        return loss * len(share)

    def _descend(self, evaluate: Callable[[], Tensor], rate: float) -> Tensor:
        _set_rate(self._optimiser, rate)
        loss = evaluate()
        self._guide.before_step(self._model)
        self._optimiser.step()
        return loss

    def _evaluate(self, inputs: Tensor, labels: Tensor, weight: float) -> Tensor:
        """The loss, detached, with fresh gradients of it.

        Ranks' gradients are averaged alike; times `weight` their average is the mean over the global batch.
        """
        self._model.zero_grad(set_to_none=True)
        scores = self._wrapped(inputs)
        loss = functional.cross_entropy(scores, labels)
        loss = self._guide.loss(self._model, inputs, scores, labels, loss)
        (weight * loss).backward()
        return loss.detach()


def optimiser_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; weight decay on weights only, not on parameters with one dimension."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
