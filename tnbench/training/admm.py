"""Drive the dense weights towards the low-rank set by ADMM, then decompose them and fine-tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Crew, Guide, Part, TrainingTools
from tnbench.training._epochs import check_share, shared

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 2


@dataclass(frozen=True)
class Options:
    """`rho`: weight of the penalty. `share` of the epochs, rounded up, under ADMM; the rest fine-tunes the factors."""

    rho: float = 0.1
    share: float = 0.5

    def __post_init__(self) -> None:
        check_share("admm", self.share)
        if not self.rho > 0:
            raise UsageError(f"training admm: got rho = {self.rho:g}, wanted a number above 0")


def needs_baseline(options: Options) -> bool:
    """Yes: its weights are what is driven towards low ranks."""
    return True


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """The policy chooses ranks on the baseline; then train the dense network with the penalty, decompose, fine-tune.

    Yin, Sui, Liao and Yuan, "Towards efficient tensor decomposition-based DNN model compression with optimization
    framework" (2021). Both phases peak at `settings.lr` and together take `settings.epochs`. The accuracy before
    training is that of decomposing the baseline at once.
    """
    settings = tools.settings
    constrained, rest = shared(settings.epochs, options.share)
    dense = tools.baseline()
    once = tools.compress(dense)
    tools.evaluate_before(once)
    parts = tools.parts(once)
    tools.fit(dense, epochs=constrained, lr=settings.lr, guide=Admm(parts, options.rho))
    model = tools.compress(dense, ranks={part.name: part.ranks for part in parts})
    tools.fit(model, epochs=rest, lr=settings.lr)
    return model


class Admm(Guide):
    """Adds rho/2 Σ ||W - Z + U||² to the loss; after each epoch Z is the projection of W + U, and U grows by W - Z.

    It tells `distance`: ||W - Z|| / ||W|| over all weights together, after each epoch, with the Z of that projection.
    """

    def __init__(self, parts: Sequence[Part], rho: float) -> None:
        # A weight at its largest ranks is in the set already.
        self._parts = [part for part in parts if part.ranks != part.largest]
        self._rho = rho
        self._near: dict[str, Tensor] = {}
        self._dual: dict[str, Tensor] = {}
        self._distances: list[float] = []

    def begin(self, model: nn.Module, crew: Crew) -> None:
        for part in self._parts:
            weights = _weights(model, part)
            self._near |= zip(part.layers, part.project(weights), strict=True)
            self._dual |= {
                name: weight.new_zeros(weight.shape) for name, weight in zip(part.layers, weights, strict=True)
            }

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        for name, near in self._near.items():
            weight = cast("Tensor", model.get_submodule(name).weight)
            loss = loss + self._rho / 2 * (weight - near + self._dual[name]).square().sum()
        return loss

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        apart = whole = 0.0
        for part in self._parts:
            weights = _weights(model, part)
            raised = [weight + self._dual[name] for name, weight in zip(part.layers, weights, strict=True)]
            for name, weight, up, near in zip(part.layers, weights, raised, part.project(raised), strict=True):
                self._near[name], self._dual[name] = near, up - near
                apart += float((weight - near).double().square().sum())
                whole += float(weight.double().square().sum())
        self._distances.append((apart / whole) ** 0.5 if whole else 0.0)

    def state(self) -> dict[str, Any]:
        return {"near": self._near, "dual": self._dual, "distances": list(self._distances)}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        for name in self._near:
            self._near[name].copy_(state["near"][name])
            self._dual[name].copy_(state["dual"][name])
        self._distances = list(state["distances"])

    def told(self) -> dict[str, Any]:
        return {"distance": self._distances}


def _weights(model: nn.Module, part: Part) -> list[Tensor]:
    return [cast("Tensor", model.get_submodule(name).weight).detach() for name in part.layers]
