"""Layers of one network cut in different ways: each by the rank, across the bottleneck, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.distributed.collectives import Group, size
from tnbench.distributed.functions import CHANNELS
from tnbench.distributed.placement import Shard, joined_words
from tnbench.distributed.sharding.chains import chains_of
from tnbench.distributed.sharding.channel_rules import ChannelRules, shard_channelwise
from tnbench.distributed.sharding.cut import Chosen
from tnbench.distributed.sharding.rewrite import Decision, rewrite, states
from tnbench.distributed.sharding.roles import Cut, Role, roles
from tnbench.distributed.sharding.tracing import Rewritten, runnable, shape_of, trace, with_shapes

Cuts = Mapping[str, Cut]
"""Name of a chain -> how the ranks cut it; layers that are not in it are whole on each rank."""


class Between(NamedTuple):
    """What ranks exchange between layers for one picture, and the modules that work on a part of the channels.

    `joined` are words of all-gathers forward, `split` those of all-gathers backward.
    """

    joined: tuple[int, ...] = ()
    split: tuple[int, ...] = ()
    channelwise: frozenset[str] = frozenset()


def roles_of(model: nn.Module, cuts: Cuts, ranks: int) -> dict[str, list[Role]]:
    """The roles of the factors of each chain in `cuts`. Raises NotApplicable for one that cannot be cut so."""
    chains = chains_of(model)
    given: dict[str, list[Role]] = {}
    for name, cut in cuts.items():
        found = roles(chains[name], ranks, cut) if name in chains else "it is no chain of plain factors"
        if isinstance(found, str):
            raise NotApplicable(f"the {cut} cut of {name} over {ranks} processes: {found}; leave that layer whole")
        given[name] = found
    return given


def shard_mixed(model: nn.Module, cuts: Cuts, group: Group) -> tuple[nn.Module, dict[str, Shard]]:
    """Put this rank's parts into `model`, in place: what to call in its place, and of what it has a part.

    Raises NotApplicable for a chain that cannot be cut so, and where the forward method cannot be traced.
    """
    given, chains = roles_of(model, cuts, size(group)), chains_of(model)
    across = _across(cuts)
    if not across:
        return model, Chosen({name: chains[name] for name in cuts}, given, group).shard()
    graphs = trace(model, [chains[name] for name in cuts])
    rules = ChannelRules(model, across, graphs.values())
    decisions = {training: states(model, graph, rules) for training, graph in graphs.items()}
    added = {training: rewrite(graph, decisions[training], CHANNELS, group) for training, graph in graphs.items()}
    shards = Chosen({name: chains[name] for name in cuts}, given, group).shard()
    shards |= shard_channelwise(model, rules.channelwise, group)
    ready = {training: runnable(model, graph, added[training]) for training, graph in graphs.items()}

    def graph_for(training: bool, x: Tensor) -> fx.GraphModule:
        return ready[training]

    return Rewritten(model, graph_for), shards


def graph_of(model: nn.Module, in_shape: Shape) -> fx.Graph:
    """The graph of `model` in training, all chains being single nodes, with shapes for a picture of `in_shape`.

    Raises NotApplicable where the forward method cannot be traced.
    """
    graph = trace(model, chains_of(model).values())[True]
    like = next(model.parameters())
    with_shapes(model, graph, torch.zeros(1, *in_shape, dtype=like.dtype, device=like.device))
    return graph


def between(model: nn.Module, graph: fx.Graph, cuts: Cuts, ranks: int) -> Between:
    """What `shard_mixed` makes `ranks` ranks exchange between layers; `graph` is what `graph_of` gives for `model`."""
    across = _across(cuts)
    if ranks == 1:
        return Between()
    decisions = states(model, graph, ChannelRules(model, across, [graph]))
    joined, parted = _conversions(decisions, ranks)
    here = {str(node.target) for node, decision in decisions.items() if decision.gives and node.op == "call_module"}
    return Between(tuple(joined), tuple(parted), frozenset(here - set(across)))


def _across(cuts: Cuts) -> list[str]:
    """Chains whose inputs and outputs are split by channels."""
    return [name for name, cut in cuts.items() if cut != "rank"]


def _conversions(decisions: Mapping[fx.Node, Decision], ranks: int) -> tuple[list[int], list[int]]:
    """Words of each value that is joined, and of each that is split, once however many nodes want it so."""
    joined: dict[fx.Node, int] = {}
    parted: dict[fx.Node, int] = {}
    for node, decision in decisions.items():
        for source in node.all_input_nodes:
            shape = shape_of(source)
            if decisions[source].gives == decision.wants or shape is None:
                continue
            words = joined_words(tuple(shape), CHANNELS, ranks)
            if decision.wants is None:
                joined[source] = words
            elif source.op != "placeholder":  # pictures want no gradient
                parted[source] = words
    return list(joined.values()), list(parted.values())
