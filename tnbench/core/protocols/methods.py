"""What a method provides: of one layer, of a group of layers, or of a whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tnbench.core.protocols.weights import Factors, Pixels, Ranks, Shape, Stats

if TYPE_CHECKING:
    from torch import Tensor, nn


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
