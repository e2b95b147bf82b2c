"""A running average of a network's weights, to be evaluated in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of a state dict: after each step decay · average + (1 - decay) · state.

    Early on the decay is at most (1 + n) / (10 + n) after n steps, so that a short training is not an average of its
    random start. Running statistics of BatchNorm are averaged like weights, since those of the last steps belong to
    other weights; whole numbers (its count of batches) are copied. A tensor that changed its shape begins anew.

    The factors of a layer are averaged each by itself, which is an average of kernels only while they move little.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights of `model` after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        self.values = {
            name: self._moved(self.values.get(name), value, decay) for name, value in model.state_dict().items()
        }

    def _moved(self, average: Tensor | None, value: Tensor, decay: float) -> Tensor:
        if average is None or average.shape != value.shape or not value.is_floating_point():
            return value.detach().clone()
        return average.lerp_(value, 1 - decay)

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Give `model` the average for a block; afterwards it has its own weights again."""
        own = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.values)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"steps": self.steps, "values": self.values}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.steps = state["steps"]
        self.values = {name: value.to(self.values[name].device) for name, value in state["values"].items()}
