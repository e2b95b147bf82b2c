"""A network as a list of operations, with what each computes and gives, by torch.fx."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable
from tnbench.distributed.graph import LayerTracer, run_looking
from tnbench.measure.counts import layer_macs


class Operation(NamedTuple):
    """A node of the graph: its multiply-accumulates for the pictures it was run on, and what it gave."""

    node: fx.Node
    macs: int
    given: Any


def traced(model: nn.Module) -> fx.GraphModule:
    """The graph of `model` in its present mode. Raises NotApplicable where the code decides by what it computes."""
    try:
        return fx.GraphModule(model, LayerTracer().trace(model))
    except Exception as error:  # whatever the network's own code raises when it gets no tensor
        raise NotApplicable(
            f"the network cannot be cut into stages: torch.fx cannot follow its forward pass "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]}); take ddp or fsdp instead"
        ) from error


def operations(graph: fx.GraphModule, pictures: Tensor) -> list[Operation]:
    """The operations in order, for `pictures`; nothing is learnt and no state moves."""
    found: list[Operation] = []

    def look(node: fx.Node, inputs: tuple[Any, ...], given: Any) -> None:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        found.append(Operation(node, _macs(layer, inputs[0], given) if layer is not None else 0, given))

    run_looking(graph, pictures, look)
    return found


def _macs(layer: nn.Module, inp: Tensor, out: Tensor) -> int:
    if isinstance(layer, _ConvNd | nn.Linear) or hasattr(layer, "macs"):
        return layer_macs(layer, inp.shape, out.shape)
    return 0
