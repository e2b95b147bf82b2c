"""A network as a list of operations, with what each computes and gives, by torch.fx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable
from tnbench.measure.counts import layer_macs

_OWN_LAYERS = "tnbench.layers."


class Operation(NamedTuple):
    """A node of the graph: its multiply-accumulates for the pictures it was run on, and what it gave."""

    node: fx.Node
    macs: int
    given: Any


def traced(model: nn.Module) -> fx.GraphModule:
    """The graph of `model` in its present mode. Raises NotApplicable where the code decides by what it computes."""
    try:
        return fx.GraphModule(model, _Tracer().trace(model))
    except Exception as error:  # whatever the network's own code raises when it gets no tensor
        raise NotApplicable(
            f"the network cannot be cut into stages: torch.fx cannot follow its forward pass "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); take ddp or fsdp instead"
        ) from error


def operations(graph: fx.GraphModule, pictures: Tensor) -> list[Operation]:
    """The operations in order, for `pictures`; nothing is learnt and no state moves."""
    with _in_eval_mode(graph), torch.no_grad():
        recorder = _Recorder(graph)
        recorder.run(pictures)
    return recorder.found


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__module__.startswith(_OWN_LAYERS) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.found: list[Operation] = []

    def run_node(self, n: fx.Node) -> Any:
        given = super().run_node(n)
        macs = 0
        if n.op == "call_module":
            inputs, _ = self.fetch_args_kwargs_from_env(n)
            macs = _macs(self.fetch_attr(str(n.target)), inputs[0], given)
        self.found.append(Operation(n, macs, given))
        return given


def _macs(layer: nn.Module, inp: Tensor, out: Tensor) -> int:
    if isinstance(layer, _ConvNd | nn.Linear) or hasattr(layer, "macs"):
        return layer_macs(layer, inp.shape, out.shape)
    return 0


@contextmanager
def _in_eval_mode(graph: fx.GraphModule) -> Iterator[None]:
    modes = [(module, module.training) for module in cast(nn.Module, graph).modules()]
    graph.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
