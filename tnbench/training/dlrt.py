"""Dynamical low-rank training: orthonormal bases follow the gradient flow, and the ranks adapt at every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from tnbench.core.errors import UsageError
from tnbench.core.protocols import Fit, Part, Ranks, TrainingTools
from tnbench.linalg.tucker_manifold import TuckerPoint, rank_adaptive_step
from tnbench.training._epochs import Epochs, from_scratch
from tnbench.training._manifolds import TUCKER, OnManifolds, Point, check_manifolds

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1


@dataclass(frozen=True)
class Options:
    """`tau`: what each step may cut, relative to a weight's norm; 0 keeps the ranks.

    `start`: from random weights, as in the papers, or from the baseline. `epochs` as for scratch: own or total.
    """

    tau: float = 0.05
    start: Literal["scratch", "baseline"] = "scratch"
    epochs: Epochs = "own"

    def __post_init__(self) -> None:
        if not 0 <= self.tau < 1:
            raise UsageError(f"training dlrt: got tau = {self.tau:g}, wanted 0 <= tau < 1")
        if self.start == "baseline" and self.epochs == "total":
            raise UsageError("training dlrt: epochs=total is for start=scratch; leave one of them out")


def needs_baseline(options: Options) -> bool:
    """Only where it starts from one."""
    return options.start == "baseline"


def run(tools: TrainingTools, options: Options) -> nn.Module:
    """Compress, train on the manifold with ranks that may fall and rise again, compress at the ranks reached.

    Schotthöfer et al. 2022 (arXiv:2205.13571) for matrices, Zangrando et al. 2024 (arXiv:2305.19059) for Tucker; see
    `tnbench.linalg.tucker_manifold.rank_adaptive_step`. The policy's ranks are the first and the most, so what it
    promises is kept. From scratch at a peak of `settings.baseline_lr`, from the baseline at `settings.lr`, and in each
    case `settings.epochs`. K-, L- and S-steps share one gradient, that of the dense weight, which gives what separate
    passes through the factors would: times and memory of training are those of the dense network, and more.
    """
    settings, scratch = tools.settings, options.start == "scratch"
    model = tools.compress(tools.fresh() if scratch else tools.baseline(), rescale=scratch)
    tools.evaluate_before(model)
    parts = tools.parts(model)
    check_manifolds("dlrt", parts, TUCKER)
    dense = tools.expand(model)
    epochs = from_scratch(settings, options.epochs) if scratch else settings.epochs
    guide = OnManifolds(parts, partial(adaptive, tau=options.tau))
    fit = tools.fit(dense, epochs=epochs, lr=settings.baseline_lr if scratch else settings.lr, guide=guide)
    return tools.compress(dense, ranks={part.name: _reached(part, fit) for part in parts})


def adaptive(part: Part, point: Point, step: Tensor, *, tau: float) -> Point:
    """One rank-adaptive step, up to the part's ranks."""
    most = part.ranks * 2 if len(part.ranks) == 1 else part.ranks
    return rank_adaptive_step(cast(TuckerPoint, point), step, tolerance=tau, most=most)


def _reached(part: Part, fit: Fit) -> Ranks:
    path = fit.told.get("ranks", [])
    return tuple(path[-1].get(part.name, part.ranks)) if path else part.ranks
