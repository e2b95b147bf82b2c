"""A network whose images have their rows shared by the ranks wherever its graph and their heights allow."""

from __future__ import annotations

import copy

from torch import Tensor, fx, nn

from tnbench.core.errors import NotApplicable
from tnbench.distributed.collectives import Group, size
from tnbench.distributed.halo import ROWS
from tnbench.distributed.sharding.chains import chains_of, whole_layers
from tnbench.distributed.sharding.crew import layers_note
from tnbench.distributed.sharding.rewrite import rewrite, states
from tnbench.distributed.sharding.row_rules import RowRules
from tnbench.distributed.sharding.tracing import Rewritten, runnable, trace, with_shapes


def share_rows(model: nn.Module, group: Group, notes: list[str]) -> nn.Module:
    """What to call in the place of `model`, whose parameters stay whole on each rank.

    The first call with pictures of a size decides which layers are shared: those whose rows suffice for all ranks. It
    raises NotApplicable where there is none. Raises NotApplicable at once where the forward method cannot be traced.
    """
    graphs = trace(model, chains_of(model).values())

    def graph_for(training: bool, x: Tensor) -> fx.GraphModule:
        graph = copy.deepcopy(graphs[training])
        with_shapes(model, graph, x)
        rules = RowRules(model, group)
        decisions = states(model, graph, rules)
        _tell(model, rules, x, notes)
        return runnable(model, graph, rewrite(graph, decisions, ROWS, group))

    return Rewritten(model, graph_for)


def _tell(model: nn.Module, rules: RowRules, x: Tensor, notes: list[str]) -> None:
    if not rules.cut:
        raise NotApplicable(
            f"pictures of {tuple(x.shape[2:])} pixels for {size(rules.group)} processes: no convolution with zeros "
            f"around has a row of its input and of its output for each; take fewer processes, or ddp"
        )
    note = layers_note(rules.cut, whole_layers(model, set(rules.cut)), {})
    if note not in notes:
        notes.append(note)
