"""The contract of a training plug-in, as one check that its author can call.

>>> from tnbench.training import finetune
>>> check_training(finetune)
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.protocols import Fit, Guide, Training
from tnbench.core.settings import Settings


class StandInTools:
    """The tools that a training plug-in is given (`tnbench.core.protocols.TrainingTools`), on a network of 15 numbers.

    `calls` names what was asked for, in order; `compressed` holds what `compress` gave; `given` holds the networks
    that were handed out to be compressed, each with its weights at that time.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls: list[str] = []
        self.compressed: list[nn.Module] = []
        self.given: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def baseline(self) -> nn.Module:
        self.calls.append("baseline")
        return self._network(filled_with=1.0)

    def fresh(self) -> nn.Module:
        self.calls.append("fresh")
        return self._network(filled_with=2.0)

    def compress(self, model: nn.Module, *, rescale: bool = False) -> nn.Module:
        self.calls.append("compress")
        self.compressed.append(copy.deepcopy(model))
        return self.compressed[-1]

    def evaluate_before(self, model: nn.Module) -> None:
        self.calls.append("evaluate_before")

    def recalibrate(self, model: nn.Module) -> None:
        self.calls.append("recalibrate")

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        self.calls.append("fit")
        assert epochs >= 0, f"fit: got {epochs} epochs, wanted a whole number from 0 on"
        assert lr > 0, f"fit: got a rate of {lr}, wanted a number above 0"
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(lr * epochs)
        return Fit([1.0] * epochs, [1.0] * epochs, [[1.0]], peak_bytes=0, processes=1, threads=1)

    def _network(self, filled_with: float) -> nn.Module:
        model = nn.Linear(4, 3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(filled_with)
        self.given.append((model, copy.deepcopy(model.state_dict())))
        return model


def check_training(plugin: Training, *, options: Any = None) -> None:
    """Run the training on stand-in tools; AssertionError says what the plug-in does not keep.

    It asks for a baseline exactly if `needs_baseline` says so; it compresses, trains nothing but what `compress`
    gave, and returns that; run again it asks for the same and returns the same.
    """
    tools, again = StandInTools(Settings(epochs=2)), StandInTools(Settings(epochs=2))
    result, repeated = plugin.run(tools, options), plugin.run(again, options)
    needs, asked = plugin.needs_baseline(options), "baseline" in tools.calls
    assert needs == asked, f"needs_baseline: got {needs}, and run {'asked' if asked else 'did not ask'} for one"
    made = any(result is model for model in tools.compressed)
    assert made, "run: got a network that is not from compress, wanted one that is"
    for model, state in tools.given:
        assert _same(model.state_dict(), state), "run: changed a network that it compressed, wanted only copies trained"
    assert again.calls == tools.calls, f"run: called {tools.calls}, and {again.calls} when run again"
    assert _same(result.state_dict(), repeated.state_dict()), "run: got another network when run again"


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
