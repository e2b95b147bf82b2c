"""What a training plug-in provides, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tnbench.core.protocols.parallel import Crew
    from tnbench.core.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """How one fit is run. `lr` is the peak of a one-cycle schedule of SGD with Nesterov momentum."""

    epochs: int
    lr: float
    batch_size: int
    momentum: float
    weight_decay: float
    seed: int


@dataclass(frozen=True)
class Fit:
    """What a fit gave. `step_s` has one list per rank; `loss` one mean per epoch; the model is trained in place.

    `told` is what the guide had to say on rank 0.
    """

    loss: list[float]
    epoch_s: list[float]
    step_s: list[list[float]]
    peak_bytes: int
    processes: int
    threads: int
    notes: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


class Guide:
    """What a training method does inside the loop. Every rank has a copy, which came to it by pickling.

    Each method is called at its moment and here does nothing, so a guide defines those it needs. `model` is the network
    that is trained, on its device and not wrapped for parallel training.
    """

    def begin(self, model: nn.Module, crew: Crew) -> None:
        """Once, before the optimiser is made."""

    def begin_epoch(self, model: nn.Module, epoch: int, epochs: int) -> bool:
        """Before epoch number `epoch` (from 0) of `epochs`; true where it put other parameters into `model`."""
        return False

    def loss(self, model: nn.Module, inputs: Tensor, scores: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
        """The loss to descend: `loss` so far, the mean over this rank's share, and what the method adds."""
        return loss

    def take(self, model: nn.Module, evaluate: Callable[[], Tensor], rate: float) -> Tensor | None:
        """A step of its own instead of the optimiser's: the loss it saw, detached; None leaves it to the optimiser.

        `evaluate` computes loss and fresh gradients of the batch at the model's present weights.
        """
        return None

    def before_step(self, model: nn.Module) -> None:
        """After the gradients are there, before the optimiser's step."""

    def after_step(self, model: nn.Module) -> None:
        """After every step."""

    def end_epoch(self, model: nn.Module, epoch: int) -> None:
        """After the last step of epoch number `epoch`."""

    def state(self) -> dict[str, Any]:
        """What a resumed training needs besides the network: tensors and plain values."""
        return {}

    def resume(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Take up what `state` gave, after `begin`."""

    def told(self) -> dict[str, Any]:
        """What the record is to keep, as JSON types: paths of ranks or distances, epoch by epoch."""
        return {}


class TrainingTools(Protocol):
    """What a training plug-in is given. Each call's time is kept by the stages, per phase."""

    settings: Settings

    def baseline(self) -> nn.Module:
        """The trained dense network (a fresh copy at each call)."""

    def fresh(self) -> nn.Module:
        """The dense network as it was drawn at random from the case's seed."""

    def compress(self, model: nn.Module, *, rescale: bool = False) -> nn.Module:
        """A compressed copy. `rescale` gives each layer's reconstruction the norm of its weight."""

    def evaluate_before(self, model: nn.Module) -> None:
        """Evaluate `model` as the accuracy before training."""

    def recalibrate(self, model: nn.Module) -> None:
        """Recompute the running statistics of BatchNorm in place, on training pictures augmented as in training."""

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        """Train `model` in place by the settings' recipe, spread over processes by the parallel plug-in.

        `guide` takes part in the loop on every rank; what it tells is in the `Fit`.
        """


class Training(Protocol):
    """What is done to the weights besides decomposing."""

    VERSION: int

    def needs_baseline(self, options: Any) -> bool:
        """Whether a trained dense network is asked for."""

    def run(self, tools: TrainingTools, options: Any) -> nn.Module:
        """Compress and train as the plug-in does; the trained network comes back."""
