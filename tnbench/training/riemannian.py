"""Descend along the manifold of weights of fixed ranks: project the step onto its tangent space, then retract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnbench.core.protocols import Part, TrainingTools
from tnbench.linalg import tt_manifold, tucker_manifold
from tnbench.linalg.tt_manifold import TrainPoint
from tnbench.training._manifolds import TRAIN, TUCKER, OnManifolds, Point, check_manifolds

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1


def needs_baseline(options: Any) -> bool:
    """Yes: its weights, cut to the ranks, are where it starts."""
    return True


def run(tools: TrainingTools, options: Any) -> nn.Module:
    """Compress the baseline, train the dense weights that the factors stand for on the manifold, compress again.

    Riemannian gradient descent as for tensor completion (Kressner, Steinlechner and Vandereycken 2014 for Tucker,
    Steinlechner 2016 for trains), with the optimiser's step, momentum and all, in the gradient's place: no gauge of
    factors matters to it. `settings.epochs` at a peak of `settings.lr`. Weights are dense while they train, so times
    and memory of training are those of the dense network, and more; the last decomposition leaves nothing out.
    """
    model = tools.compress(tools.baseline())
    tools.evaluate_before(model)
    parts = tools.parts(model)
    check_manifolds("riemannian", parts, (*TUCKER, *TRAIN))
    dense = tools.expand(model)
    tools.fit(dense, epochs=tools.settings.epochs, lr=tools.settings.lr, guide=OnManifolds(parts, along))
    return tools.compress(dense, ranks={part.name: part.ranks for part in parts})


def along(part: Part, point: Point, step: Tensor) -> Point:
    """The retraction of the step's projection onto the tangent space."""
    if isinstance(point, TrainPoint):
        return tt_manifold.retracted(point, tt_manifold.tangent(point, step))
    return tucker_manifold.retracted(point, tucker_manifold.tangent(point, step))
