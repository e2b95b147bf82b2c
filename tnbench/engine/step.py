"""One training step: a rank's share of a batch forward, backward, and the optimiser's move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew, Guide, Recipe, Shape
from tnbench.engine.batches import Batches, batches_per_epoch
from tnbench.engine.kernel_decay import KernelDecay
from tnbench.engine.optimiser import optimiser_for
from tnbench.engine.precision import autocast, compiled, laid_out
from tnbench.engine.schedule import RATES


class Step:
    """A network, its optimiser and its pictures, ready to step. `wrapped` is the network as the crew trains it.

    After a call, `cross_entropy` is that of the share, summed, without what a guide adds to the loss, and `classes`
    the number of scores.
    """

    def __init__(
        self,
        model: nn.Module,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        data: Batches,
        recipe: Recipe,
        crew: Crew,
        guide: Guide | None = None,
        decay: KernelDecay | None = None,
    ) -> None:
        self.optimiser, self.cross_entropy, self.classes = optimiser, torch.zeros((), device=crew.device), 0
        self._model, self._wrapped, self._decay = model, wrapped, decay
        self._data, self._recipe, self._crew = data, recipe, crew
        self._guide = Guide() if guide is None else guide
        self._total = recipe.epochs * batches_per_epoch(len(data), recipe)

    def __call__(self, batch: Tensor, *, epoch: int, number: int) -> Tensor:
        """Take this rank's share of `batch` (indices, int64) down the gradient, as step `number` of the whole fit.

        The loss summed over the share comes back, detached, on the device.
        """
        share = batch.tensor_split(self._crew.data_world)[self._crew.data_rank]
        inputs, labels = self._data.batch(share, self._recipe, epoch)
        rate = RATES[self._recipe.schedule](number, self._total, self._recipe.lr)
        weight = len(share) * self._crew.data_world / len(batch)
        evaluate = partial(self._evaluate, laid_out(inputs, self._recipe), labels, weight)
        loss = self._guide.take(self._model, evaluate, rate)
        if loss is None:
            loss = self._descend(evaluate, rate)
        else:
            _check_own_steps(self._recipe)
        self._guide.after_step(self._model)
        return loss * len(share)

    def _descend(self, evaluate: Callable[[], Tensor], rate: float) -> Tensor:
        _set_rate(self.optimiser, rate)
        loss = evaluate()
        self._guide.before_step(self._model)
        if self._recipe.clip:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip)
        if self._decay is not None:
            self._decay.add_gradients()
        self.optimiser.step()
        return loss

    def _evaluate(self, inputs: Tensor, labels: Tensor, weight: float) -> Tensor:
        """The loss, detached, with fresh gradients of it.

        Ranks' gradients are averaged alike; times `weight` their average is the mean over the global batch.
        """
        self._model.zero_grad(set_to_none=True)
        with autocast(self._crew.device, self._recipe):
            scores = self._wrapped(inputs)
        if self._recipe.amp:
            scores = scores.float()
        loss = functional.cross_entropy(scores, labels, label_smoothing=self._recipe.label_smoothing)
        self.cross_entropy, self.classes = loss.detach() * len(labels), scores.shape[1]
        loss = self._guide.loss(self._model, inputs, scores, labels, loss)
        (weight * loss).backward()
        return loss.detach()


def step_of(
    model: nn.Module,
    data: Batches,
    recipe: Recipe,
    crew: Crew,
    guide: Guide | None = None,
    kernels: Mapping[str, Shape] | None = None,
) -> Step:
    """The steps of `recipe` on `model`, whose parameters must be those that it is to train.

    `kernels` are those of compressed layers (`kernel_decay.kernel_sides`). The crew wraps the model first, since what
    is to be trained may be a rank's shards.
    """
    wrapped = compiled(crew.wrap(model), recipe, crew)
    decay = KernelDecay(model, kernels or {}, recipe.weight_decay) if recipe.decay_on == "kernel" else None
    optimiser = optimiser_for(model, recipe, decay.parameters if decay else (), crew)
    return Step(model, wrapped, optimiser, data, recipe, crew, guide, decay)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _check_own_steps(recipe: Recipe) -> None:
    for name in ("optimiser", "ema", "decay_on", "clip"):
        if getattr(recipe, name) != getattr(Recipe, name):
            raise NotApplicable(
                f"{name} = {getattr(recipe, name)} is for an optimiser's steps, and this training takes steps of its "
                f"own; leave {name} at {getattr(Recipe, name)}"
            )
