"""tnbench's side: a method on one layer, and the ranks that a policy chooses for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .contest import NotHere

if TYPE_CHECKING:
    from tnbench.core.protocols import Factors, Ranks
    from tnbench.engine.applied import OnLayer


def on_layer(method: str, layer: nn.Module, name: str = "layer") -> OnLayer:
    """`method`, written as in a case, at work on `layer`. Raises NotHere where it refuses the layer."""
    from tnbench.core.grammar import parse_part
    from tnbench.core.registry import Registry
    from tnbench.engine.applied import OnLayer, functions_of

    (atom,) = parse_part("method", method)
    functions = functions_of(Registry().bind("method", atom))
    if (reason := functions.refuses(layer)) is not None:
        raise NotHere(f"{method} does not serve {name}: {reason}")
    return OnLayer(functions, name, layer)


def on_weight(method: str, weight: Tensor) -> OnLayer:
    """`method` on a layer without bias that has `weight`: (O, I, kH, kW), or (O, I) of a linear layer."""
    if weight.dim() == 2:
        layer: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    else:
        layer = nn.Conv2d(
            weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]), bias=False, device="meta"
        )
    layer.weight = nn.Parameter(weight)
    return on_layer(method, layer)


def ranks_at(rank: str, target: OnLayer) -> Ranks:
    """The ranks that the policy `rank`, such as x4, chooses for a layer."""
    from tnbench.core.grammar import parse_part
    from tnbench.core.protocols import Candidate, KeepDense
    from tnbench.core.registry import Registry

    (atom,) = parse_part("rank", rank)
    policy = Registry().bind("rank", atom)
    candidate = Candidate(target.name, target.shape, target.weight.numel(), target.largest, target.count)
    (choice,) = policy.module.choose(rank, policy.options, [candidate], None)
    if isinstance(choice, KeepDense):
        raise NotHere(f"{target.name} stays dense at {rank}: {choice.reason}")
    return target.useful(choice)


def dense(target: OnLayer, factors: Factors) -> Tensor:
    """The weight that float32 factors stand for, multiplied out in float64."""
    return target.dense(tuple(factor.double() for factor in factors))


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """||got - wanted|| / ||wanted||, in float64."""
    wanted = wanted.double()
    return float(torch.dist(got.double(), wanted) / wanted.norm())
