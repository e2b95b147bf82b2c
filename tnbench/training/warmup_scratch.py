"""Train the dense network from scratch for some epochs, then decompose it and train the factors for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnbench.core.protocols import TrainingTools
from tnbench.training._epochs import Epochs, check_share, from_scratch, shared

if TYPE_CHECKING:
    from torch import nn

VERSION = 2
NAMES = {
    "warmup-scratch": "Train the dense network from scratch for some epochs, then decompose it and train the factors."
}


@dataclass(frozen=True)
class Options:
    """`share` of the epochs, rounded up, for the dense network. `epochs` as for scratch: own or total."""

    share: float = 0.3
    epochs: Epochs = "own"

    def __post_init__(self) -> None:
        check_share("warmup-scratch", self.share)


def needs_baseline(options: Options) -> bool:
    """No: it trains the dense network itself, for fewer epochs."""
    return False


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """Full-rank warm-up, one decomposition, low-rank training: both phases at a peak of `settings.baseline_lr`.

    Pufferfish (Wang, Agarwal and Papailiopoulos 2021, arXiv:2103.03936): factors taken from a partly trained network
    end better than random ones. Its share of warm-up epochs, 80 of 300 on CIFAR-10, is the default's order; Cuttlefish
    (Wang et al. 2023) would find it from the stable ranks. Each phase has its own schedule of rates.
    """
    settings = tools.settings
    warm_up, rest = shared(from_scratch(settings, options.epochs), options.share)
    dense = tools.fresh()
    tools.fit(dense, epochs=warm_up, lr=settings.baseline_lr)
    model = tools.compress(dense)
    tools.evaluate_before(model)
    tools.fit(model, epochs=rest, lr=settings.baseline_lr)
    return model
