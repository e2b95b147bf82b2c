"""What a rank policy provides, and what it may ask of the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tnbench.core.protocols.weights import Ranks, Shape

if TYPE_CHECKING:
    from torch import Tensor


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
