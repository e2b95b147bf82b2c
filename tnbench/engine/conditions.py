"""What a compression may use beside the network, the method and the rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from tnbench.core.protocols import Ranks, Shape
from tnbench.engine.calibration import Calibration
from tnbench.layers.gauge import Kind


@dataclass(frozen=True)
class Conditions:
    """Who stays dense, what is random, and what is known about pictures.

    `keep` names the layers that stay dense unless `only` is given; `skip` and `only` are globs of names. `gauge` says
    how factors share the weight's norm (`tnbench.layers.gauge`). `scratch` is for training from scratch: each layer's
    reconstruction gets the norm of its random weight, and nothing is read from its spectrum.

    What is None cannot be had, and a method or rank policy that asks for it does not apply: `in_shape` (C, H, W) of a
    picture; `calibration` pictures; `validate`, the top-1 in percent of a network on validation pictures; `rebuild`, a
    fresh network with all inner widths times a number; `table`, the rank table of a name.

    `ranks`, by the name of what is factorised at a time, take the place of the policy's; what has none stays dense.
    """

    keep: Sequence[str] = ()
    skip: Sequence[str] = ()
    only: Sequence[str] | None = None
    seed: int = 0
    gauge: Kind = "balanced"
    scratch: bool = False
    in_shape: Shape | None = None
    calibration: Calibration | None = None
    validate: Callable[[nn.Module], float] | None = None
    rebuild: Callable[[float], nn.Module] | None = None
    table: Callable[[str], Mapping[str, Ranks]] | None = None
    ranks: Mapping[str, Ranks] | None = None
