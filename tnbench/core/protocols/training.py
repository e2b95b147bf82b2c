"""What a training plug-in provides, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tnbench.core.protocols.parallel import Crew
    from tnbench.core.protocols.weights import Ranks
    from tnbench.core.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """How one fit is run: the settings of those names, with the epochs and the highest rate of this fit.

    By default it is SGD with Nesterov momentum and a one-cycle rate.
    """

    epochs: int
    lr: float
    batch_size: int
    momentum: float
    weight_decay: float
    seed: int
    schedule: str = "one_cycle"
    optimiser: str = "sgd"
    label_smoothing: float = 0.0
    ema: float = 0.0
    decay_on: str = "factors"
    clip: float = 0.0
    amp: bool = False
    channels_last: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Fit:
    """What a fit gave. `step_s` has one list per rank; `loss` one mean per epoch; the model is trained in place.

    `told` is what the guide had to say on rank 0. `curve` is the top-1 (%) on the test pictures after each epoch, empty
    unless the settings ask for it; nothing is chosen by it. `wait_s` is the seconds waited for pictures in each epoch,
    those of the rank that waited longest. `resumed` says that its first epochs were those of an earlier, killed run.
    """

    loss: list[float]
    epoch_s: list[float]
    step_s: list[list[float]]
    peak_bytes: int
    processes: int
    threads: int
    notes: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    wait_s: list[float] = field(default_factory=list)
    resumed: bool = False


class Guide:
    """What a training method does inside the loop. Every rank has a copy, which came to it by pickling.

    Each method is called at its moment and here does nothing, so a guide defines those it needs. `model` is the network
    that is trained, on its device and not wrapped for parallel training.

    `shardable` says that nothing but `begin` and `loss` is defined and that no weights of `model` are read, so that the
    guide can take part where each rank holds a shard of them. `on_manifold` says that the weights are kept on a
    manifold, so that nothing may put others in their place, such as an average of them.
    """

    @property
    def shardable(self) -> bool:
        return False

    @property
    def on_manifold(self) -> bool:
        return False

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
        """What the record is to keep: name -> a list of JSON values, one for each epoch."""
        return {}


class Part(Protocol):
    """What is factorised at a time in a compressed network: a layer, or a group of layers. It may be pickled.

    `method` is the name of the method that serves it, `dense` the number of its weights in the dense network, and
    `groups` those of a convolution, which are factorised one by one.
    """

    name: str
    method: str
    layers: tuple[str, ...]
    ranks: Ranks
    largest: Ranks
    dense: int
    groups: int

    def count(self, ranks: Ranks) -> int:
        """Number of weights at `ranks`, bias apart."""

    def project(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The weights nearest to `weights`, one per layer, that the method finds at the part's ranks."""


class TrainingTools(Protocol):
    """What a training plug-in is given. Each call's time is kept by the stages, per phase.

    `fits` are those that `fit` has given so far.
    """

    settings: Settings
    fits: list[Fit]

    def baseline(self) -> nn.Module:
        """The trained dense network (a fresh copy at each call)."""

    def fresh(self) -> nn.Module:
        """The dense network as it was drawn at random from the case's seed."""

    def compress(
        self, model: nn.Module, *, rescale: bool = False, ranks: Mapping[str, Ranks] | None = None
    ) -> nn.Module:
        """A compressed copy. `rescale` gives each layer's reconstruction the norm of its weight.

        `ranks`, by the name of the part, take the place of those that the case's policy would choose; parts without
        any stay dense.
        """

    def parts(self, model: nn.Module) -> Sequence[Part]:
        """What was factorised in `model`, which `compress` gave, with the ranks that were chosen.

        Raises NotApplicable for a method that makes a whole new network.
        """

    def factors(self, model: nn.Module) -> Mapping[str, tuple[str, ...]]:
        """Layer -> names of the parameters of `model` that are its factors; empty for one that compress did not give.

        Raises NotApplicable where a method's factors are shared by layers.
        """

    def expand(self, model: nn.Module) -> nn.Module:
        """The dense network that computes what `model` does now, which `compress` gave and training may have moved.

        Raises NotApplicable where a method's factors are shared by layers.
        """

    def evaluate_before(self, model: nn.Module) -> None:
        """Evaluate `model` as the accuracy before training."""

    def recalibrate(self, model: nn.Module) -> None:
        """Recompute the running statistics of BatchNorm in place, on training pictures augmented as in training."""

    def fit(self, model: nn.Module, *, epochs: int, lr: float, guide: Guide | None = None) -> Fit:
        """Train `model` in place by the settings' recipe, spread over processes by the parallel plug-in.

        `guide` takes part in the loop on every rank; what it tells is in the `Fit`.
        """


class Training(Protocol):
    """What is done to the weights besides decomposing.

    In a mixture (``admm+distill``) the first training runs, and the others take part in each of its fits. A module that
    can do so has a further function, `guide(tools, model, options) -> Guide`, which is called before each fit of
    `model`. A module that never calls `fit` says ``TRAINS = False``, so that nothing is prepared for its epochs.
    """

    VERSION: int

    def needs_baseline(self, options: Any) -> bool:
        """Whether a trained dense network is asked for."""

    def run(self, tools: TrainingTools, options: Any) -> nn.Module:
        """Compress and train as the plug-in does; the trained network comes back."""
