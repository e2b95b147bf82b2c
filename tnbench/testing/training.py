"""The contract of a training plug-in, as one check that its author can call.

>>> from tnbench.training import finetune
>>> check_training(finetune)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tnbench.core.grammar import Atom
from tnbench.core.protocols import Fit, Guide, Part, Ranks, Training
from tnbench.core.registry import Registry
from tnbench.core.settings import Settings
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.parts import expanded, factor_names, parts_of
from tnbench.engine.swapped import Swapped


class StandInTools:
    """The tools that a training plug-in is given (`tnbench.core.protocols.TrainingTools`), on a network of 15 numbers.

    The method is dense, so `compress` gives a copy, and a fit of e epochs at a rate adds e times the rate to all
    numbers; guides are not called. `calls` names what was asked for, in order; `compressed` holds what `compress` gave;
    `fits` what `fit` gave; `epochs` are those of all fits together.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls: list[str] = []
        self.compressed: list[nn.Module] = []
        self.fits: list[Fit] = []
        self.epochs = 0
        self._made: list[tuple[Swapped, Mapping[str, tuple[str, ...]]]] = []

    def baseline(self) -> nn.Module:
        self.calls.append("baseline")
        return self._network(filled_with=1.0)

    def fresh(self) -> nn.Module:
        self.calls.append("fresh")
        return self._network(filled_with=2.0)

    def compress(
        self, model: nn.Module, *, rescale: bool = False, ranks: Mapping[str, Ranks] | None = None
    ) -> nn.Module:
        self.calls.append("compress")
        registry = Registry()
        method, policy = registry.bind("method", Atom("dense")), registry.bind("rank", Atom("full"))
        swapped = swap_layers(model, [method], policy, Conditions(ranks=ranks))
        self._made.append((swapped, factor_names(swapped)))
        self.compressed.append(swapped.model)
        return swapped.model

    def parts(self, model: nn.Module) -> Sequence[Part]:
        self.calls.append("parts")
        return parts_of(self._compression(model)[0], seed=0)

    def factors(self, model: nn.Module) -> Mapping[str, tuple[str, ...]]:
        self.calls.append("factors")
        return next((names for swapped, names in self._made if swapped.model is model), {})

    def expand(self, model: nn.Module) -> nn.Module:
        self.calls.append("expand")
        return expanded(*self._compression(model))

    def _compression(self, model: nn.Module) -> tuple[Swapped, Mapping[str, tuple[str, ...]]]:
        found = [made for made in self._made if made[0].model is model]
        assert found, "got a network that compress did not give, wanted one that it did"
        return found[0]

    def evaluate_before(self, model: nn.Module) -> None:
        self.calls.append("evaluate_before")

    def recalibrate(self, model: nn.Module) -> None:
        self.calls.append("recalibrate")

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        self.calls.append("fit")
        assert epochs >= 0, f"fit: got {epochs} epochs, wanted a whole number from 0 on"
        assert lr > 0, f"fit: got a rate of {lr}, wanted a number above 0"
        self.epochs += epochs
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(lr * epochs)
        fit = Fit([1.0] * epochs, [1.0] * epochs, [[1.0]], peak_bytes=0, processes=1, threads=1)
        self.fits.append(fit)
        return fit

    def _network(self, filled_with: float) -> nn.Module:
        model = nn.Linear(4, 3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(filled_with)
        return model


def check_training(plugin: Training, *, options: Any = None) -> None:
    """Run the training on stand-in tools; AssertionError says what the plug-in does not keep.

    It asks for a baseline exactly if `needs_baseline` says so, and returns a network that `compress` gave; run again it
    asks for the same and returns the same; and twice as many epochs in the settings are twice as many in its fits.
    """
    tools, again = StandInTools(_settings(1)), StandInTools(_settings(1))
    result, repeated = plugin.run(tools, options), plugin.run(again, options)
    needs, asked = plugin.needs_baseline(options), "baseline" in tools.calls
    assert needs == asked, f"needs_baseline: got {needs}, and run {'asked' if asked else 'did not ask'} for one"
    made = any(result is model for model in tools.compressed)
    assert made, "run: got a network that is not from compress, wanted one that is"
    assert again.calls == tools.calls, f"run: called {tools.calls}, and {again.calls} when run again"
    assert _same(result.state_dict(), repeated.state_dict()), "run: got another network when run again"
    longer = StandInTools(_settings(2))
    plugin.run(longer, options)
    assert longer.epochs == 2 * tools.epochs, (
        f"run: got {longer.epochs} epochs where the settings' are twice those that gave {tools.epochs}, wanted "
        f"{2 * tools.epochs}"
    )


def _settings(times: int) -> Settings:
    return Settings(epochs=6 * times, baseline_epochs=10 * times)


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
