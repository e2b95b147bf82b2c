"""What was done to a network's layers, as plain data from which their modules can be built again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError, nearest
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Ranks, Shape
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import Functions, OnGroup, OnLayer, functions_of
from tnbench.engine.replaced import replaced
from tnbench.engine.swapped import Swapped


@dataclass(frozen=True)
class PartBlueprint:
    """What was factorised at a time: a layer, a group of layers, or (without layers) the whole network.

    `method` is written as in a case, options included; `layers` maps names to the shapes of the dense weights;
    `factors` are the shapes of the factors.
    """

    name: str
    method: str
    layers: Mapping[str, Shape]
    ranks: Ranks
    factors: tuple[Shape, ...]


@dataclass(frozen=True)
class Blueprint:
    """All parts, the rank policy as written in a case, and why the other layers stayed dense."""

    rank: str
    parts: tuple[PartBlueprint, ...]
    notes: Mapping[str, str]


def blueprint(swapped: Swapped) -> Blueprint:
    """The blueprint of a compression."""
    parts = tuple(_part(name, swapped) for name in swapped.ranks)
    return Blueprint(swapped.rank, parts, dict(swapped.notes))


def _part(name: str, swapped: Swapped) -> PartBlueprint:
    target = swapped.targets.get(name)
    if target is None:
        return PartBlueprint(name, str(swapped.methods[name].atom), {}, swapped.ranks[name], ())
    layers = {place: tuple(cast(Tensor, layer.weight).shape) for place, layer in target.layers.items()}
    factors = tuple(tuple(factor.shape) for factor in swapped.factors[name])
    return PartBlueprint(name, str(swapped.methods[next(iter(layers))].atom), layers, swapped.ranks[name], factors)


def build(
    blueprint: Blueprint,
    into: nn.Module,
    *,
    registry: Registry | None = None,
    rebuild: Callable[[float], nn.Module] | None = None,
) -> nn.Module:
    """A copy of `into`, a dense network, with the blueprint's modules in place of layers; all their factors are zeros.

    `rebuild` makes the network with all inner widths times a number, for methods that draw a narrower one. Raises
    UsageError where `into` has other layers than the blueprint, or where a method is not known here.
    """
    registry, model = registry or Registry(), copy.deepcopy(into)
    for part in blueprint.parts:
        method = registry.bind("method", parse_part("method", part.method)[0])
        if method.scope == "network":
            model = _narrowed(part, functions_of(method), model, rebuild)
            continue
        for name, module in _modules(part, method, model).items():
            model = replaced(model, name, module)
    return model


def _modules(part: PartBlueprint, method: Bound, model: nn.Module) -> dict[str, nn.Module]:
    layers = {name: _layer(model, name, shape) for name, shape in part.layers.items()}
    (name, first), *_ = layers.items()
    weight = cast(Tensor, first.weight)
    factors = tuple(torch.zeros(shape, dtype=weight.dtype, device=weight.device) for shape in part.factors)
    if method.scope == "group":
        return OnGroup(functions_of(method), part.name, layers).modules(factors)
    return OnLayer(functions_of(method), name, first).modules(factors)


def _layer(model: nn.Module, name: str, shape: Shape) -> nn.Module:
    layers: dict[str, nn.Module] = dict(model.named_modules())
    if name not in layers:
        best = nearest(name, layers)
        hint = f"the nearest is {best!r}; " if best else ""
        raise UsageError(f"the network has no layer {name!r}; {hint}wanted the architecture that was compressed")
    layer = layers[name]
    weight = getattr(layer, "weight", None)
    got = tuple(weight.shape) if isinstance(weight, Tensor) else None
    if got != shape:
        found = f"a weight {got}" if got else f"a {type(layer).__name__} without a weight"
        raise UsageError(f"layer {name!r}: got {found}, wanted {shape}; wanted the architecture that was compressed")
    return layer


def _narrowed(
    part: PartBlueprint, functions: Functions, model: nn.Module, rebuild: Callable[[float], nn.Module] | None
) -> nn.Module:
    try:
        made = functions.narrowed(model, part.ranks[0], seed=0, rebuild=rebuild)
    except NotApplicable as refusal:
        raise UsageError(f"{part.method} cannot make its network again: {refusal}; give rebuild=") from None
    return cast(nn.Module, made)
