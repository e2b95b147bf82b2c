"""Which channels of a network can be removed, and the network without them.

The channels that a layer makes can go if all that they reach, through operations that keep channels apart, is layers
that sum over them. torch.fx shows what they reach, by running the network on symbols.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable
from tnbench.engine.channelwise import reads_batch_size, sides_behind
from tnbench.engine.evaluate import mode_of
from tnbench.layers.plain import CONVOLUTIONS, dimensions


@dataclass(frozen=True)
class Place:
    """A layer that channels pass or reach. Behind a flattening each has a `block` of neighbouring entries in it."""

    name: str
    block: int = 1


@dataclass(frozen=True)
class Group:
    """Channels that the layer `producer` makes and that can be removed.

    `carriers` (BatchNorm, depthwise convolutions) have entries for each channel, `consumers` sum over channels.
    """

    producer: str
    channels: int
    carriers: tuple[Place, ...]
    consumers: tuple[Place, ...]


def channel_groups(model: nn.Module) -> tuple[Group, ...]:
    """The channels of `model` that can be removed, layer by layer in the order in which they run.

    Producers and consumers are plain convolutions of one group and plain linear layers, each called once, sharing no
    weight and without hooks. Channels stay where they reach anything but activations, dropout, pooling, means over all
    pixels, flattening, BatchNorm and depthwise convolutions: so where they meet others in a sum or a join, are padded,
    or leave the network.

    Raises NotApplicable, with the reason, where torch.fx cannot trace the network.
    """
    training, evaluating = (_groups_in_mode(model, training=training) for training in (True, False))
    return tuple(group for group in evaluating if group in training)  # some networks have branches in training only


def keep_channels(model: nn.Module, kept: Iterable[tuple[Group, Tensor]]) -> nn.Module:
    """A copy of `model` with only the `kept` channels of each group: indices, int64, in the order that they get."""
    narrow = copy.deepcopy(model)
    for group, channels in kept:
        _take(narrow.get_submodule(group.producer), channels, axis=0)
        for place in group.carriers:
            _take(narrow.get_submodule(place.name), _entries(channels, place.block), axis=0)
        for place in group.consumers:
            _take(narrow.get_submodule(place.name), _entries(channels, place.block), axis=1)
    return narrow


class _Blocked(Exception):
    """The channels reach something that they cannot be removed from."""


class _Walk:
    """Follows the channels of one layer through the graph; `carriers` and `consumers` are what they met."""

    def __init__(self, modules: Mapping[str, nn.Module], layers: Mapping[str, nn.Module], start: fx.Node) -> None:
        self._modules, self._layers, self._start = modules, layers, start
        producer = layers[str(start.target)]
        self._channels, self._sides = cast(Tensor, producer.weight).shape[0], dimensions(producer)
        self._carriers: list[Place] = []
        self._consumers: list[Place] = []

    def group(self) -> Group | None:
        """What was found; None where the channels have to stay."""
        try:
            self._follow(self._start, self._sides)
        except _Blocked:
            return None
        carriers, consumers = tuple(self._carriers), tuple(self._consumers)
        return Group(str(self._start.target), self._channels, carriers, consumers) if consumers else None

    def _follow(self, node: fx.Node, sides: int) -> None:
        for user in node.users:
            if reads_batch_size(user):
                continue
            if user.op == "output" or user.args[:1] != (node,):
                raise _Blocked
            name = str(user.target)
            if user.op == "call_module" and name in self._layers:
                self._meet(user, name, sides)
            else:
                self._pass(user, self._modules.get(name) if user.op == "call_module" else None, sides)

    def _pass(self, user: fx.Node, module: nn.Module | None, sides: int) -> None:
        behind = sides_behind(user, module, sides)
        if behind is None:
            raise _Blocked
        self._follow(user, behind)

    def _meet(self, user: fx.Node, name: str, sides: int) -> None:
        """A layer with weights carries the channels on, or sums over them."""
        layer = self._layers[name]
        if isinstance(layer, _BatchNorm):
            self._carriers.append(Place(name, self._block(layer.num_features, sides)))
            self._follow(user, sides)
        elif dimensions(layer) != sides:
            raise _Blocked
        elif _is_depthwise(layer):
            self._carriers.append(Place(name))
            self._follow(user, sides)
        else:
            self._consumers.append(Place(name, self._block(cast(Tensor, layer.weight).shape[1], sides)))

    def _block(self, entries: int, sides: int) -> int:
        """Entries for each channel: more than one only where pictures were flattened."""
        block, rest = divmod(entries, self._channels)
        if rest or (block != 1 and (sides or not self._sides)):
            raise _Blocked
        return block


def _groups_in_mode(model: nn.Module, *, training: bool) -> tuple[Group, ...]:
    with mode_of(model, training=training):
        try:
            graph = fx.Tracer().trace(model)
        except Exception as error:  # tracing runs the network's own code
            reason = str(error).partition("\n")[0]
            raise NotApplicable(
                f"torch.fx cannot trace {type(model).__name__} ({type(error).__name__}: {reason}), "
                f"so it is unknown which channels depend on one another"
            ) from error
    called = {str(node.target): model.get_submodule(str(node.target)) for node in graph.nodes if _calls_module(node)}
    layers = _separable_layers(model, called, graph)
    makers = (node for node in graph.nodes if _calls_module(node) and _makes_channels(layers.get(str(node.target))))
    found = (_Walk(called, layers, node).group() for node in makers)
    return tuple(group for group in found if group is not None)


def _calls_module(node: fx.Node) -> bool:
    return node.op == "call_module"


def _separable_layers(model: nn.Module, called: Mapping[str, nn.Module], graph: fx.Graph) -> dict[str, nn.Module]:
    """The layers with weights that may lose channels: nothing else than one call of each depends on its weights."""
    calls = Counter(str(node.target) for node in graph.nodes if _calls_module(node))
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    owners = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    return {
        name: layer
        for name, layer in called.items()
        if _is_plain(layer)
        and calls[name] == 1
        and name not in read
        and all(owners[id(parameter)] == 1 for parameter in layer.parameters())
    }


def _is_plain(layer: nn.Module) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    if isinstance(layer, _ConvNd):
        return type(layer) in CONVOLUTIONS and (layer.groups == 1 or _is_depthwise(layer))
    return type(layer) is nn.Linear or isinstance(layer, _BatchNorm)


def _makes_channels(layer: nn.Module | None) -> bool:
    return layer is not None and not isinstance(layer, _BatchNorm) and not _is_depthwise(layer)


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd) and layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def _entries(channels: Tensor, block: int) -> Tensor:
    """Indices of the entries of `channels`, `block` of them each."""
    return (channels[:, None] * block + torch.arange(block, device=channels.device)).flatten()


def _take(layer: Any, index: Tensor, axis: int) -> None:
    """Keep the entries `index` of a layer's outputs (axis 0) or inputs (axis 1), in place."""
    depthwise = _is_depthwise(layer)
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(layer, name, None)
        if tensor is not None and axis < tensor.dim():
            kept = tensor.detach().index_select(axis, index.to(tensor.device))
            trained = isinstance(tensor, nn.Parameter)
            setattr(layer, name, nn.Parameter(kept, requires_grad=tensor.requires_grad) if trained else kept)
    for name in _sizes_of(layer, axis, depthwise):
        setattr(layer, name, len(index))


def _sizes_of(layer: nn.Module, axis: int, depthwise: bool) -> tuple[str, ...]:
    """Names of the attributes that say how many entries there are along `axis`."""
    if isinstance(layer, _BatchNorm):
        return ("num_features",)
    if depthwise:
        return ("in_channels", "out_channels", "groups")
    inputs, outputs = (
        ("in_features", "out_features") if isinstance(layer, nn.Linear) else ("in_channels", "out_channels")
    )
    return (inputs,) if axis else (outputs,)
