"""What a plug-in of each kind provides. A plug-in is a module: its functions are the protocol's methods.

Types from torch are named for the reader and the type checker only; importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tnbench.core.settings import Settings

Shape = tuple[int, ...]
"""(O, I, kH, kW) of a convolution's weight or (O, I) of a linear layer's."""

Ranks = tuple[int, ...]
Factors = tuple["Tensor", ...]


class Pixels(NamedTuple):
    """Positions at which the parts of a factorised convolution run, for one picture.

    `inp`: where the first 1x1 convolution runs; `mid`: after a vertical (kH x 1) convolution; `out`: the output's.
    A 1x1 convolution with a stride has it in its first factor, so there all three are the output's.
    A linear layer has (1, 1, 1).
    """

    inp: int
    mid: int
    out: int


# ---------------------------------------------------------------------------------------------------- methods


class Method(Protocol):
    """A decomposition of one layer's weight: pure functions over (O, I, kH, kW) or (O, I).

    A module may also have `useful_ranks(shape, ranks) -> Ranks`, where some ranks have no use beside the others (a
    train's r2 above r1 kH): what is then really used is what summaries show.
    """

    VERSION: int

    def refuses(self, layer: nn.Module) -> str | None:
        """Why this method does not apply to `layer` (a Conv2d or Linear); None if it does."""

    def largest_ranks(self, shape: Shape) -> Ranks:
        """The largest useful ranks: enough to reproduce every weight of `shape`."""

    def count(self, shape: Shape, ranks: Ranks) -> int:
        """Number of weights of the factors, bias apart."""

    def macs(self, shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
        """Multiply-accumulates of one picture's forward pass through the factors."""

    def factorise(
        self,
        weight: Tensor,
        ranks: Ranks,
        *,
        seed: int,
        options: Any,
        stats: Any = None,
        start: Factors | None = None,
    ) -> Factors:
        """Factors of `weight`, which is left as it was; the same seed gives the same bits on the CPU.

        `stats` carries activation covariances for data-aware solvers; `start` factors of smaller or equal ranks for
        iterative solvers to begin from. Methods that have no use for them ignore them.
        """

    def dense(self, factors: Factors) -> Tensor:
        """The weight that the factors stand for, in its original shape."""

    def layer(self, factors: Factors, like: nn.Module) -> nn.Module:
        """A module of plain torch layers that computes what `like` would with the weight ``dense(factors)``."""


# ---------------------------------------------------------------------------------------------- rank policies


@dataclass(frozen=True)
class Candidate:
    """One layer as a rank policy sees it. `dense` is its number of weights, bias apart."""

    name: str
    shape: Shape
    dense: int
    largest: Ranks
    count: Callable[[Ranks], int]


@dataclass(frozen=True)
class KeepDense:
    """A layer's choice to stay as it is, with the reason that its summary shows."""

    reason: str


Choice = Ranks | KeepDense


class RankPolicy(Protocol):
    """How ranks are chosen. The text of the policy (``x4``) is matched by the file's PATTERN."""

    VERSION: int

    def choose(self, text: str, options: Any, candidates: Sequence[Candidate], probe: Probe) -> list[Choice]:
        """One choice per candidate, in order.

        Raises UsageError for a text that means nothing (``x0``) and NotApplicable, with a reason that names layer
        and nearest reachable value, for a rank that cannot be reached.
        """

    def check(self, text: str) -> None:
        """Raise UsageError if the text means nothing, whatever the layers are."""


class Probe(Protocol):
    """What a policy may ask of the layers; each answer is computed only if it is asked for."""

    def weight(self, name: str) -> Tensor:
        """The dense weight of a candidate, in its shape."""


# --------------------------------------------------------------------------------------------- models, data


class Model(Protocol):
    """A CNN architecture."""

    VERSION: int

    def build(self, name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
        """A freshly initialised network for pictures of `in_shape` (C, H, W), drawn from torch's global generator.

        Raises NotApplicable when the pictures do not fit the architecture.
        """

    def keep_dense(self, model: nn.Module) -> Sequence[str]:
        """Names of the layers that stay dense by default (first and last, as papers do)."""


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pictures scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Augmentation:
    """What training does to pictures: zero-pad by `crop` and crop back at random; `flip` half of them."""

    crop: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Pictures:
    """A data set in memory.

    Pictures are uint8 tensors (N, C, H, W), labels int64 tensors (N,). `digest` identifies the bytes and the split.
    `meaningful` is False where labels are made up, so that accuracy is left empty.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int
    digest: str
    normalisation: Normalisation
    augmentation: Augmentation = Augmentation()
    meaningful: bool = True

    @property
    def in_shape(self) -> Shape:
        """(C, H, W) of one picture."""
        return tuple(self.train.shape[1:])


@dataclass(frozen=True)
class Wanted:
    """One file of a data set: where it is looked for (any of `paths`), and which one is there."""

    name: str
    paths: tuple[Path, ...]
    found: Path | None


class Dataset(Protocol):
    """Pictures and labels."""

    VERSION: int

    def load(self, name: str, options: Any, root: Path) -> Pictures:
        """Read everything. Raises UsageError that names the files wanted and where, or the file that is damaged."""

    def digest(self, name: str, options: Any, root: Path) -> str:
        """The digest that `load` would give, cheaply and without torch. Raises as `load` does for absent files."""

    def wanted(self, name: str, options: Any, root: Path) -> Sequence[Wanted]:
        """The files that the data set is read from; empty where it is embedded or generated."""

    def fetch(self, name: str, options: Any, root: Path) -> None:
        """Download the files into `root` where there is a network. Raises TnbenchError saying what failed."""


# ------------------------------------------------------------------------------------- training and parallel


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
    """What a fit gave. `step_s` has one list per rank; `loss` one mean per epoch; the model is trained in place."""

    loss: list[float]
    epoch_s: list[float]
    step_s: list[list[float]]
    peak_bytes: int
    processes: int
    threads: int
    notes: list[str] = field(default_factory=list)


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

    def fit(self, model: nn.Module, *, epochs: int, lr: float) -> Fit:
        """Train `model` in place by the settings' recipe, spread over processes by the parallel plug-in."""


class Training(Protocol):
    """What is done to the weights besides decomposing."""

    VERSION: int

    def needs_baseline(self, options: Any) -> bool:
        """Whether a trained dense network is asked for."""

    def run(self, tools: TrainingTools, options: Any) -> nn.Module:
        """Compress and train as the plug-in does; the trained network comes back."""


@dataclass(frozen=True)
class Crew:
    """The processes that share one piece of work, as seen by one of them.

    `wrap` prepares a model for training by all of them (DistributedDataParallel, say); `barrier` waits for all.
    `notes` are sentences for the record; `wrap` adds what only the model tells.
    """

    rank: int
    world: int
    device: torch.device
    threads: int
    wrap: Callable[[nn.Module], nn.Module]
    barrier: Callable[[], None]
    notes: list[str] = field(default_factory=list)


RankEntry = Callable[[Crew], Any]
"""What every rank runs: picklable, called with the rank's crew, its return value is sent back (picklable too)."""


class Parallel(Protocol):
    """How one case is spread over processes.

    `IN_PROCESS` says that `launch` calls the entry here, in one process; the forward pass is then timed the same way.
    """

    VERSION: int
    IN_PROCESS: bool

    def refuses(self, count: int | None, options: Any, device: str) -> str | None:
        """Why `count` processes or threads cannot be had on `device`; None if they can."""

    def launch(
        self, entry: RankEntry, count: int | None, options: Any, device: str, plugin_files: Sequence[Path]
    ) -> list[Any]:
        """Run `entry` on every rank and return what each gave, rank 0 first.

        Raises RankDied when a rank ends by itself; no process is left behind, whatever happens.
        """
