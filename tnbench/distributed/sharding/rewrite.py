"""The pass over a network's graph: which values are split, and where they are joined and split again."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from tnbench.core.errors import NotApplicable
from tnbench.distributed.collectives import Group
from tnbench.distributed.functions import join, split

State = int | None
"""Of a value: how long it is along the side that is split; None for one that is whole on each rank."""


class Decision(NamedTuple):
    """What a node wants each of its inputs to be and what it gives; `module` is called in its place, if there is one.

    `module` is called with the node's one input alone. Whatever else the node has (a pooling's sides, say) is dropped
    from the call, so `module` is to have it already; a node of several inputs cannot have a `module`.
    """

    wants: State = None
    gives: State = None
    module: nn.Module | None = None


Decide = Callable[[fx.Node, list[State]], Decision]
"""``decide(node, states)``: `states` are those of ``node.all_input_nodes`` so far."""


def states(model: nn.Module, graph: fx.Graph, decide: Decide) -> dict[fx.Node, Decision]:
    """The decision at each node, in order. Inputs and the output of the network are whole."""
    found: dict[fx.Node, Decision] = {}
    for node in graph.nodes:
        whole = node.op in ("placeholder", "get_attr", "output")
        given = [found[source].gives for source in node.all_input_nodes]
        found[node] = Decision() if whole else decide(node, given)
        _check_in_place(model, node)
    return found


def _check_in_place(model: nn.Module, node: fx.Node) -> None:
    """A value that is changed where others read it has no one state."""
    if node.op in ("placeholder", "get_attr", "output") or len(node.all_input_nodes) == 0:
        return
    first = node.all_input_nodes[0]
    if len(first.users) > 1 and _in_place(model, node):
        raise NotApplicable(
            f"the network changes the value {first.name} in place ({node.name}) while something else reads it, and "
            f"ranks may have copies of it; wanted an operation that is not in place, such as relu(x) for relu_(x)"
        )


def _in_place(model: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    return bool(node.kwargs.get("inplace", False)) or node.target in _IN_PLACE


_IN_PLACE = frozenset({operator.iadd, operator.isub, operator.imul, operator.itruediv})


def rewrite(graph: fx.Graph, decisions: dict[fx.Node, Decision], dim: int, group: Group) -> dict[str, nn.Module]:
    """Put joins and splits along `dim` where a value is not as a node wants it, in place; the modules they call.

    A value is joined once and split once, however many nodes want it so.
    """
    added = _Added(dim, group)
    for node, decision in decisions.items():
        for source in list(node.all_input_nodes):
            if decisions[source].gives != decision.wants:
                node.replace_input_with(source, added.converted(source, decisions[source].gives, decision.wants))
        if decision.module is not None:
            added.replace(node, decision.module)
    return added.modules


class _Added:
    """What is added to a graph: `modules` by the names that its nodes call them by."""

    def __init__(self, dim: int, group: Group) -> None:
        self.modules: dict[str, nn.Module] = {}
        self._where = dim, group
        self._made: dict[tuple[fx.Node, State], fx.Node] = {}

    def converted(self, source: fx.Node, has: State, wants: State) -> fx.Node:
        """The node that gives the value of `source` as it is wanted, made at the first call."""
        if (source, wants) not in self._made:
            assert has is None or wants is None, f"{source} is split of {has} where a split of {wants} is wanted"
            module: nn.Module = Split(wants, *self._where) if wants is not None else Join(_length(has), *self._where)
            name = self._add(f"{'join' if wants is None else 'split'}_{source.name}", module)
            with source.graph.inserting_after(source):
                self._made[source, wants] = source.graph.call_module(name, (source,))
        return self._made[source, wants]

    def replace(self, node: fx.Node, module: nn.Module) -> None:
        """Let `node` call `module` with its one input."""
        inputs = node.all_input_nodes
        if len(inputs) != 1:
            raise NotApplicable(
                f"got {len(inputs)} inputs ({', '.join(map(str, inputs))}) of the operation {node.name}, whose work "
                f"ranks can share for one alone; take rank_tp, whose layers give and take whole tensors"
            )
        node.op, node.target = "call_module", self._add(f"own_{node.name}", module)
        node.args, node.kwargs = (inputs[0],), {}

    def _add(self, name: str, module: nn.Module) -> str:
        name = f"exchange.{name}"
        self.modules[name] = module
        return name


def _length(state: State) -> int:
    assert state is not None
    return state


class Split(nn.Module):
    """This rank's part of a whole value that is `size` long along `dim`; what is no tensor stays as it is."""

    def __init__(self, size: int, dim: int, group: Group) -> None:
        super().__init__()
        self.size, self.dim, self.group = size, dim, group

    def forward(self, x: Any) -> Any:
        """Side `dim` of size `size` to the rank's part of it."""
        if not isinstance(x, Tensor) or x.dim() == 0:
            return x
        if x.dim() <= self.dim or x.shape[self.dim] != self.size:
            raise NotApplicable(
                f"got a tensor {tuple(x.shape)} that meets one whose side {self.dim} of {self.size} the ranks share, "
                f"wanted the same side; take rank_tp, whose layers give and take whole tensors"
            )
        return split(x, self.dim, self.group)


class Join(nn.Module):
    """The whole value, `size` long along `dim`, out of the ranks' parts."""

    def __init__(self, size: int, dim: int, group: Group) -> None:
        super().__init__()
        self.size, self.dim, self.group = size, dim, group

    def forward(self, x: Tensor) -> Tensor:
        """The rank's part to side `dim` of size `size`."""
        return join(x, self.dim, self.size, self.group)


def same(given: list[State]) -> State:
    """The one state of all inputs that are split; None where there is none, or where they differ."""
    split_ones = {state for state in given if state is not None}
    return split_ones.pop() if len(split_ones) == 1 else None
