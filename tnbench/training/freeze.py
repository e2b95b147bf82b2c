"""Fine-tune one factor of each layer at a time, another one in each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Guide, TrainingTools

if TYPE_CHECKING:
    from torch import nn

VERSION = 2


def needs_baseline(options: Any) -> bool:
    """Yes: its weights are what is decomposed."""
    return True


def run(tools: TrainingTools, options: Any) -> nn.Module:
    """As fine-tuning, `settings.epochs` at a peak of `settings.lr`, with all factors of a layer frozen but one.

    Sequential freezing (Hajimolahoseini, Ahmed and Liu 2023, arXiv:2309.03824): fewer gradients to compute, and a
    problem in each epoch that is linear in the factors that train, as in alternating least squares.
    """
    model = tools.compress(tools.baseline())
    tools.evaluate_before(model)
    tools.fit(model, epochs=tools.settings.epochs, lr=tools.settings.lr, guide=guide(tools, model, options))
    return model


def guide(tools: TrainingTools, model: nn.Module, options: Any) -> Guide:
    """Freezes the factors of `model`; a dense network has none to take turns, and is trained as ever.

    Turns go on from one fit of the case to the next, over those of networks with factors.
    """
    before = sum(bool(turn) for fit in tools.fits for turn in fit.told.get("trains", []))
    dense = sum(len(fit.loss) for fit in tools.fits) - before
    return Freeze(tools.factors(model), before=before, expected=tools.settings.epochs - dense)


class Freeze(Guide):
    """In epoch e the factor number e mod n of a layer's n trains, and what is no factor always does.

    Epochs are counted over the fits of a case: `before` were in earlier ones, and `expected` are in all of them.
    It tells `trains`: for each epoch the names of the factors that trained. The optimiser's momentum starts anew with
    each epoch, as each is another problem.
    """

    def __init__(self, factors: Mapping[str, tuple[str, ...]], *, before: int = 0, expected: int = 0) -> None:
        self._factors = {layer: names for layer, names in factors.items() if len(names) > 1}
        self._before, self._expected = before, expected
        self._trains: list[list[str]] = []

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        self._check_turns(max(self._expected, self._before + epochs))
        number = self._before + epoch
        turns = {names[number % len(names)] for names in self._factors.values()}
        for names in self._factors.values():
            for name in names:
                model.get_parameter(name).requires_grad_(name in turns)
        self._trains.append(sorted(turns))
        return bool(self._factors)

    def _check_turns(self, epochs: int) -> None:
        """Raise NotApplicable where a factor would never train."""
        layer, names = max(self._factors.items(), key=lambda item: len(item[1]), default=("", ()))
        if epochs < len(names):
            raise NotApplicable(
                f"freeze trains one factor of a layer in an epoch, and layer {layer!r} has {len(names)}: got {epochs} "
                f"epoch{'' if epochs == 1 else 's'} for them, wanted at least {len(names)}; raise --epochs, or take "
                f"finetune"
            )

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        for names in self._factors.values():
            for name in names:
                model.get_parameter(name).requires_grad_(True)

    def state(self) -> dict[str, Any]:
        return {"trains": list(self._trains)}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        self._trains = list(state["trains"])

    def told(self) -> dict[str, Any]:
        return {"trains": self._trains}
