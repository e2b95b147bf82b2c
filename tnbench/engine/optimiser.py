"""The optimisers that a recipe may name."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from tnbench.core.protocols import Recipe


def optimiser_for(model: nn.Module, recipe: Recipe, spared: Collection[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter, arXiv:1711.05101), whose first beta is the momentum.

    Weights decay, parameters with one dimension (biases, scales of BatchNorm) do not; nor do those that are `spared`.
    """
    apart = {id(parameter) for parameter in spared}
    decaying = [parameter for parameter in model.parameters() if parameter.ndim > 1 and id(parameter) not in apart]
    chosen = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [{"params": decaying, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
