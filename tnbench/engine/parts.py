"""What a training method knows of the layers that are compressed: their ranks, and the way back to dense weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Factors, Ranks, Shape
from tnbench.engine.applied import Applied, Functions, OnGroup, OnLayer, functions_of
from tnbench.engine.replaced import replaced
from tnbench.engine.swapped import Swapped


@dataclass
class WeightPart:
    """One part (`tnbench.core.protocols.Part`) by the functions of its method. It may be pickled.

    `shape` is that of what is factorised at a time: one group of a convolution, or the stacked weights of a group of
    layers.
    """

    name: str
    method: str
    layers: tuple[str, ...]
    ranks: Ranks
    largest: Ranks
    dense: int
    shape: Shape
    groups: int
    stacked: bool
    functions: Functions
    seed: int

    def count(self, ranks: Ranks) -> int:
        """Number of weights at `ranks`, bias apart."""
        return self.groups * int(self.functions.count(self.shape, ranks))

    def project(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The weights nearest to `weights`, one per layer, that the method finds at the part's ranks."""
        if self.stacked:
            return list(self._near(torch.stack(list(weights))))
        (weight,) = weights
        return [torch.cat([self._near(group) for group in weight.chunk(self.groups)])]

    def _near(self, weight: Tensor) -> Tensor:
        factors = self.functions.factorise(weight, self.ranks, seed=self.seed, stats=None)
        return cast(Tensor, self.functions.dense(factors))


def parts_of(swapped: Swapped, seed: int) -> list[WeightPart]:
    """The parts of a compressed network, in its order. Raises NotApplicable where layers have other sizes now."""
    if swapped.ranks.keys() - swapped.targets.keys():
        (method,) = swapped.methods.values()
        raise NotApplicable(
            f"{method.atom.name} makes a whole new network, which has no weights to put in the dense one's place; "
            f"take a training such as finetune, or a method that factorises layers"
        )
    return [_part(swapped, name, seed) for name in swapped.targets if name in swapped.ranks]


def _part(swapped: Swapped, name: str, seed: int) -> WeightPart:
    target = swapped.targets[name]
    method = swapped.methods[next(iter(target.layers))]
    return WeightPart(
        name=name,
        method=method.atom.name,
        layers=tuple(target.layers),
        ranks=swapped.ranks[name],
        largest=target.largest,
        dense=target.weight.numel(),
        shape=target.shape,
        groups=target.groups,
        stacked=isinstance(target, OnGroup),
        functions=functions_of(method),
        seed=seed,
    )


def factor_names(swapped: Swapped) -> dict[str, tuple[str, ...]]:
    """Layer -> names, in the whole network, of the parameters that are its factors, in the method's order.

    They are told by their values, so `swapped` must be as it came from the decomposition. Layers whose parameters are
    not their own factors one by one (factors shared by several layers) are left out.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, factors in swapped.factors.items():
        target = swapped.targets[name]
        if isinstance(target, OnLayer) and (names := _matching(swapped.model, name, factors)):
            found[name] = names
    return found


def _matching(model: nn.Module, layer: str, factors: Factors) -> tuple[str, ...]:
    """For each factor the first parameter that has its values and is not another one's; empty where one has none."""
    left = dict(model.get_submodule(layer).named_parameters())
    names = []
    for factor in factors:
        match = next((name for name, parameter in left.items() if _same_values(parameter, factor)), None)
        if match is None:
            return ()
        del left[match]
        names.append(f"{layer}.{match}" if layer else match)
    return tuple(names)


def _same_values(parameter: Tensor, factor: Tensor) -> bool:
    return parameter.numel() == factor.numel() and torch.equal(parameter.flatten(), factor.flatten())


def check_factors(swapped: Swapped, names: Mapping[str, tuple[str, ...]]) -> None:
    """Raise NotApplicable unless `names`, which are its `factor_names`, has every layer that was factorised."""
    for part in parts_of(swapped, seed=0):
        if part.name not in names:
            raise NotApplicable(
                f"{part.name!r}: {part.method} shares factors between layers or keeps other parameters than its "
                f"factors, so this training cannot tell them apart; take a training such as finetune"
            )


def expanded(swapped: Swapped, names: Mapping[str, tuple[str, ...]]) -> nn.Module:
    """The dense network that computes what `swapped.model` does as it is now; `names` are its `factor_names`.

    Raises NotApplicable as `check_factors` does.
    """
    check_factors(swapped, names)
    dense = copy.deepcopy(swapped.model)
    parameters = dict(swapped.model.named_parameters())
    for name in swapped.ranks:
        trained = [parameters[own] for own in names[name]]
        dense = replaced(dense, name, _dense_layer(swapped.targets[name], trained, swapped))
    return dense


def _dense_layer(target: Applied, trained: Sequence[Tensor], swapped: Swapped) -> nn.Module:
    (layer,) = (copy.deepcopy(layer) for layer in target.layers.values())
    shapes = [factor.shape for factor in swapped.factors[target.name]]
    factors = tuple(own.detach().reshape(shape) for own, shape in zip(trained, shapes, strict=True))
    with torch.no_grad():
        cast(Tensor, layer.weight).copy_(target.dense(factors))
        if layer.bias is not None:
            cast(Tensor, layer.bias).copy_(_bias(swapped.model.get_submodule(target.name), layer))
    return layer


def _bias(module: nn.Module, like: nn.Module) -> Tensor:
    """(O,): what `module`, in the place of `like`, makes of nothing; its own bias may have another order."""
    weight = cast(Tensor, like.weight)
    channels = weight.shape[1] * int(getattr(like, "groups", 1))
    dilation = cast("tuple[int, ...]", getattr(like, "dilation", ()))
    # Twice the kernel's reach is more than any padding that reflects.
    sides = [2 * step * side for step, side in zip(dilation, weight.shape[2:], strict=True)]
    answer: Tensor = module(weight.new_zeros(1, channels, *sides))
    return answer.flatten(2)[0, :, 0] if sides else answer[0]
