"""Which nodes of a graph work on a part of the channels as on all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from tnbench.distributed.collectives import Group, rank_in, size
from tnbench.distributed.placement import Shard, part
from tnbench.distributed.sharding.chains import channels, factors, is_depthwise
from tnbench.distributed.sharding.part import own_copy, own_parameter
from tnbench.distributed.sharding.pointwise import calls, is_every_nth, is_pointwise
from tnbench.distributed.sharding.rewrite import Decision, State, same
from tnbench.layers.plain import CONVOLUTIONS

_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)
_POOL_FUNCTIONS = frozenset(
    {
        *(functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d, functional.avg_pool2d),
        *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d),
    }
)
_OVER_SIDES = frozenset({torch.mean, torch.sum, torch.amax})


class ChannelRules:
    """Decides for each node of the graphs of `model`, whose `chains` take and give some of the channels on each rank.

    Afterwards `channelwise` has the names of the layers of which each rank is to have the part for its channels.
    """

    def __init__(self, model: nn.Module, chains: Collection[str], graphs: Collection[fx.Graph]) -> None:
        self.model, self.chains = model, set(chains)
        self.channelwise: set[str] = set()
        self._often = {name for graph in graphs for name, times in _calls(graph).items() if times > 1}

    def __call__(self, node: fx.Node, given: list[State]) -> Decision:
        """As `rewrite.Decide`."""
        channels_in = same(given)
        name = str(node.target)
        module = self.model.get_submodule(name) if node.op == "call_module" else None
        if name in self.chains and module is not None:
            layers = factors(module)
            return Decision(channels(layers[0])[0], channels(layers[-1])[1])
        if channels_in is None:
            return Decision()
        if module is not None and self._goes_by_channel(name, module, channels_in):
            self.channelwise.add(name)
            return Decision(channels_in, channels_in)
        if _keeps_channels_apart(node, module):
            return Decision(channels_in, channels_in)
        return Decision()

    def _goes_by_channel(self, name: str, module: nn.Module, channels_in: int) -> bool:
        if name in self._often:
            return False  # one call may be for whole values
        if isinstance(module, _BatchNorm):
            return module.num_features == channels_in
        return type(module) in CONVOLUTIONS and is_depthwise(cast(nn.Conv2d, module))


def _calls(graph: fx.Graph) -> Mapping[str, int]:
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_module")


def _keeps_channels_apart(node: fx.Node, module: nn.Module | None) -> bool:
    if is_pointwise(node, module) or type(module) in _POOLS or calls(node, _POOL_FUNCTIONS):
        return True
    return is_every_nth(node) is not None or _is_over_sides(node)


def _is_over_sides(node: fx.Node) -> bool:
    """A mean, sum or maximum over sides that are counted from the front, so that the channels are none of them."""
    if not calls(node, _OVER_SIDES, frozenset({"mean", "sum", "amax"})):
        return False
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return isinstance(dims, (tuple, list)) and all(isinstance(dim, int) and dim >= 2 for dim in dims)


def shard_channelwise(model: nn.Module, names: Collection[str], group: Group) -> dict[str, Shard]:
    """Leave in each BatchNorm and depthwise convolution of `names` this rank's channels, in place; what of which."""
    found: dict[str, Shard] = {}
    for name in sorted(names):
        module = model.get_submodule(name)
        for key, tensor in list(module.state_dict(keep_vars=True).items()):
            if tensor.dim():  # all but BatchNorm's count of batches
                found[f"{name}.{key}"] = Shard(0, tensor.shape[0])
                is_weight = isinstance(tensor, nn.Parameter)
                setattr(module, key, own_parameter(tensor, 0, group) if is_weight else own_copy(tensor, 0, group))
        _resize(module, group)
    return found


def _resize(module: nn.Module, group: Group) -> None:
    if isinstance(module, _BatchNorm):
        module.num_features = len(part(module.num_features, size(group), rank_in(group)))
    else:
        convolution = cast(nn.Conv2d, module)
        own = len(convolution.weight)
        convolution.in_channels = convolution.out_channels = convolution.groups = own
