"""A network whose values have their channels split over the ranks wherever its graph allows."""

from __future__ import annotations

from torch import Tensor, fx, nn

from tnbench.distributed.collectives import Group
from tnbench.distributed.functions import CHANNELS
from tnbench.distributed.placement import Shard
from tnbench.distributed.sharding.channel_rules import ChannelRules, shard_channelwise
from tnbench.distributed.sharding.cut import cut_chains
from tnbench.distributed.sharding.rewrite import rewrite, states
from tnbench.distributed.sharding.roles import Cut
from tnbench.distributed.sharding.tracing import Rewritten, runnable, trace


def shard_channels(model: nn.Module, cut: Cut, group: Group, notes: list[str]) -> tuple[nn.Module, dict[str, Shard]]:
    """Put this rank's parts into `model`, in place: what to call in its place, and of what it has a part.

    Raises NotApplicable where there is no chain to cut, or where the forward method cannot be traced.
    """
    chosen = cut_chains(model, cut, group, notes)
    graphs = trace(model, chosen.chains.values())
    rules = ChannelRules(model, chosen.chains, graphs.values())
    decisions = {training: states(model, graph, rules) for training, graph in graphs.items()}
    added = {training: rewrite(graph, decisions[training], CHANNELS, group) for training, graph in graphs.items()}
    shards = chosen.shard() | shard_channelwise(model, rules.channelwise, group)
    ready = {training: runnable(model, graph, added[training]) for training, graph in graphs.items()}

    def graph_for(training: bool, x: Tensor) -> fx.GraphModule:
        return ready[training]

    return Rewritten(model, graph_for), shards
