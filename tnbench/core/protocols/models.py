"""What a model provides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tnbench.core.protocols.weights import Shape

if TYPE_CHECKING:
    from torch import nn


class Published(NamedTuple):
    """A downloaded checkpoint, and what its authors evaluate it on.

    `normalisation` is a name such as ``imagenet``; the shorter side of a picture is resized to `short` pixels, and the
    square of `side` pixels in its centre taken.
    """

    file: Path
    normalisation: str
    side: int
    short: int


class Model(Protocol):
    """A CNN architecture.

    A file may also have ``narrower(name, options, in_shape, classes, width)``, the network with `width` times the inner
    channels; ``from_published(state)``, a published state dict in the names of the network; and
    ``fetch_weights(options, weights)``, which downloads what its authors publish as `weights`: a `Published`.
    """

    VERSION: int

    def build(self, name: str, options: Any, in_shape: Shape, classes: int) -> nn.Module:
        """A freshly initialised network for pictures of `in_shape` (C, H, W), drawn from torch's global generator.

        Raises NotApplicable when the pictures do not fit the architecture.
        """

    def keep_dense(self, model: nn.Module) -> Sequence[str]:
        """Names of the layers that stay dense by default (first and last, as papers do)."""
