"""What a plug-in of each kind provides. A plug-in is a module: its functions are the protocol's methods.

Types from torch are named for the reader and the type checker only; importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tnbench.core.settings import Settings

Shape = tuple[int, ...]
"""(O, I / groups, *k) of a convolution's weight, with one to three spatial sides, or (O, I) of a linear layer's."""

Ranks = tuple[int, ...]
Factors = tuple["Tensor", ...]


class Pixels(tuple[int, ...]):
    """Positions at which the parts of a factorised convolution run, for one picture.

    The first entry counts where the first 1x1 convolution runs, entry j those after the kernel was convolved along
    its first j spatial axes, and the last the output's. In two dimensions that is ``Pixels(inp, mid, out)``, with
    `mid` after a vertical (kH x 1) convolution. Along an axis where the kernel's side is 1 the first factor has the
    stride. A linear layer has ones.
    """

    def __new__(cls, *positions: int) -> Self:
        return super().__new__(cls, positions)

    @classmethod
    def ones(cls, shape: Shape) -> Self:
        """One position everywhere: with it multiply-accumulates are numbers of weights."""
        return cls(*(1 for _ in range(max(3, len(shape) - 1))))

    @property
    def inp(self) -> int:
        return self[0]

    @property
    def mid(self) -> int:
        return self[1]

    @property
    def out(self) -> int:
        return self[-1]


@dataclass(frozen=True)
class Stats:
    """What reaches a layer on calibration pictures: the second moment of its input patches, in float64.

    `patches` is (I·k, I·k) in the order of ``weight.flatten(1)``; (I, I) for a linear layer. On its diagonal the ridge
    is added already: `ridge` times the mean of the diagonal. `digest` identifies the pictures.
    """

    patches: Tensor
    channels: int
    ridge: float
    digest: str

    @property
    def channel_moment(self) -> Tensor:
        """(I, I): the mean over the kernel's offsets, for formats that whiten input channels only."""
        offsets = self.patches.shape[0] // self.channels
        blocks = self.patches.reshape(self.channels, offsets, self.channels, offsets)
        return blocks.diagonal(dim1=1, dim2=3).mean(-1)


# ---------------------------------------------------------------------------------------------------- methods


class Method(Protocol):
    """A decomposition of one layer's weight: pure functions over (O, I, *k) or (O, I).

    A function whose answer depends on the method's options takes them as a further keyword, `options`. A convolution
    of several groups is factorised group by group: `shape` and `weight` are then those of one group.

    A module may also have

    - `useful_ranks(shape, ranks) -> Ranks`, where some ranks have no use beside the others (a train's r2 above r1 kH):
      what is then really used is what summaries show;
    - `unfoldings(weight) -> tuple[Tensor, ...]`, one matrix per rank, where rank j cuts the singular values of matrix
      j and the squared error is about the sum of what is cut: rank policies read these spectra;
    - `needs_stats(options) -> bool`, true where `factorise` wants `stats`;
    - `diagnose(factors) -> dict[str, float]`, further numbers for the summary of a layer;
    - `POOLED = True`, where an unfolding's singular values are those of several matrices together;
    - `SPARSE = True`, where `count` counts weights that are not zero while the layer stores all of them.
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
        stats: Stats | None = None,
        start: Factors | None = None,
    ) -> Factors:
        """Factors of `weight`, which is left as it was; the same seed gives the same bits on the CPU.

        `stats` carries second moments of activations for data-aware solvers; `start` factors of smaller or equal ranks
        for iterative solvers to begin from. Methods that have no use for them ignore them.
        """

    def dense(self, factors: Factors) -> Tensor:
        """The weight that the factors stand for, in its original shape."""

    def layer(self, factors: Factors, like: nn.Module) -> nn.Module:
        """A module of plain torch layers that computes what `like` would with the weight ``dense(factors)``."""


class GroupMethod(Protocol):
    """A decomposition of several layers' weights as one tensor; its file says ``SCOPE = "group"``.

    The functions of `Method` work on the stacked weight (L, O, I, *k), `macs` counts one layer, and `layers` takes the
    place of `layer`. A factor that layers share is one Parameter in all of them.
    """

    VERSION: int

    def refuses(self, layer: nn.Module) -> str | None:
        """As `Method.refuses`."""

    def largest_ranks(self, shape: Shape) -> Ranks:
        """As `Method.largest_ranks`."""

    def count(self, shape: Shape, ranks: Ranks) -> int:
        """Number of weights of all the factors, shared ones once."""

    def macs(self, shape: Shape, ranks: Ranks, pixels: Pixels) -> int:
        """Multiply-accumulates of one picture's forward pass through one of the layers."""

    def factorise(
        self,
        weight: Tensor,
        ranks: Ranks,
        *,
        seed: int,
        options: Any,
        stats: Stats | None = None,
        start: Factors | None = None,
    ) -> Factors:
        """As `Method.factorise`; `stats` is None. The first factor has a row for each layer, linear in its weight."""

    def dense(self, factors: Factors) -> Tensor:
        """The stacked weight that the factors stand for."""

    def groups(self, layers: Mapping[str, nn.Module], *, options: Any) -> Mapping[str, Sequence[str]]:
        """Name of a group -> names of its layers, whose weights have one shape."""

    def layers(self, factors: Factors, likes: Sequence[nn.Module], *, options: Any) -> list[nn.Module]:
        """One module per layer, in order."""


class NetworkMethod(Protocol):
    """A method that makes a whole new network; its file says ``SCOPE = "network"``.

    Its one rank is a width in steps, out of `widths`.
    """

    VERSION: int

    def refuses_network(self, model: nn.Module) -> str | None:
        """Why this method does not apply to `model`; None if it does."""

    def widths(self, model: nn.Module) -> int:
        """Number of steps S from nothing to the full width."""

    def narrowed(
        self,
        model: nn.Module,
        width: int,
        *,
        seed: int,
        options: Any,
        rebuild: Callable[[float], nn.Module] | None,
    ) -> nn.Module:
        """The network at `width` of S steps; `model` is left as it was.

        `rebuild` draws a fresh network of the same architecture, with every inner width times a number up to 1. It is
        None unless training starts from scratch.
        """


# ---------------------------------------------------------------------------------------------- rank policies


@dataclass(frozen=True)
class Candidate:
    """One layer (or group of layers, or network) as a rank policy sees it.

    `dense` is its number of weights, bias apart. `macs` and `dense_macs` are None where the size of the pictures is
    unknown. `pooled` says that its spectra are those of several matrices together.
    """

    name: str
    shape: Shape
    dense: int
    largest: Ranks
    count: Callable[[Ranks], int]
    macs: Callable[[Ranks], int] | None = None
    dense_macs: int | None = None
    pooled: bool = False


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
    """What a policy may ask of the layers; each answer is computed only if it is asked for.

    Each raises NotApplicable, with the reason, where the answer cannot be had.
    """

    @property
    def elsewhere(self) -> int:
        """Parameters of the network that no choice touches: other layers, biases, normalisation."""

    @property
    def macs_elsewhere(self) -> int:
        """Multiply-accumulates of the layers that are no candidates, for one picture."""

    def weight(self, name: str) -> Tensor:
        """The dense weight of a candidate, in its shape."""

    def spectra(self, name: str) -> tuple[Tensor, ...]:
        """The singular values (float64, falling) that each rank cuts: those of the method's unfoldings."""

    def error(self, name: str, ranks: Ranks) -> float:
        """||W - W~|| / ||W|| of a candidate, from factors computed at these ranks."""

    def latency_ms(self, name: str, ranks: Ranks | None) -> float:
        """Measured time of the layer's forward pass at these ranks; None is the dense layer."""

    def drop(self, choices: Mapping[str, Ranks]) -> float:
        """Points of top-1 lost on the validation pictures by these ranks, without training; may be below zero."""

    def table(self, name: str) -> Mapping[str, Ranks]:
        """Layer name -> ranks, from the table of that name."""


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

    def recalibrate(self, model: nn.Module) -> None:
        """Recompute the running statistics of BatchNorm in place, on training pictures augmented as in training."""

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
