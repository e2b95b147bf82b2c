"""The optimisers that a recipe may name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from tnbench.core.protocols import Crew, Recipe


def optimiser_for(
    model: nn.Module, recipe: Recipe, spared: Collection[nn.Parameter] = (), crew: Crew | None = None
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter, arXiv:1711.05101), whose first beta is the momentum.

    Weights decay, parameters with one dimension (biases, scales of BatchNorm) do not; nor do those that are `spared`.
    The ranks of a `crew` may share its state.
    """
    make = crew.optimiser if crew is not None and crew.optimiser is not None else _made
    apart = {id(parameter) for parameter in spared}
    decaying = [parameter for parameter in model.parameters() if parameter.ndim > 1 and id(parameter) not in apart]
    chosen = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [{"params": decaying, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimiser == "adamw":
        return make(torch.optim.AdamW, groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    return make(torch.optim.SGD, groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _made(kind: type[torch.optim.Optimizer], groups: list[dict[str, Any]], **defaults: Any) -> torch.optim.Optimizer:
    return kind(groups, **defaults)
