"""The graph of a network, its layers as leaves, and the network that is called through rewritten graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from tnbench.core.errors import NotApplicable
from tnbench.distributed.graph import LayerTracer, run_looking
from tnbench.engine.evaluate import mode_of

Graphs = dict[bool, fx.Graph]
"""One for training and one for eval mode, which may differ: ``functional.dropout`` has the mode as an argument."""


def trace(model: nn.Module, leaves: Collection[nn.Module]) -> Graphs:
    """The graphs of `model` in both modes, `leaves` and torch's own layers being single nodes.

    Raises NotApplicable where the forward method cannot be traced, as where it decides by values.
    """
    graphs = {}
    try:
        for training in (True, False):
            with mode_of(model, training=training):
                graphs[training] = LayerTracer(leaves).trace(model)
    except Exception as error:
        # Whatever a forward method does with what is no tensor, TypeError and so on, means the same: no graph.
        raise NotApplicable(
            f"the network's forward method cannot be traced ({type(error).__name__}: {error}), and without its graph "
            f"nothing tells where whole tensors are wanted; take rank_tp, whose layers give and take whole ones"
        ) from error
    return graphs


class Rewritten(nn.Module):
    """`model`, called through graphs in which ranks exchange what the layers need.

    Parameters, buffers and modes are those of `model`. `graph_for` gives what to call in training (or not) for an
    input; it is asked once for each mode and each size of pictures.
    """

    def __init__(self, model: nn.Module, graph_for: Callable[[bool, Tensor], fx.GraphModule]) -> None:
        super().__init__()
        self.model = model
        self.training = model.training
        self._graph_for = graph_for
        self._graphs: dict[Any, fx.GraphModule] = {}

    def forward(self, x: Tensor) -> Tensor:
        """As `model` itself: (N, C, H, W) to (N, classes), whole on each rank."""
        key = self.model.training, x.shape[1:]
        if key not in self._graphs:
            self._graphs[key] = self._graph_for(self.model.training, x)
        return cast(Tensor, self._graphs[key](x))


def runnable(model: nn.Module, graph: fx.Graph, added: dict[str, nn.Module]) -> fx.GraphModule:
    """`graph` as a module that shares the modules of `model`, with `added` ones under names of their own."""
    graph.lint()
    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    found: dict[str, Any] = {name: added[name] if name in added else _attribute(model, name) for name in targets}
    return fx.GraphModule(found, graph)


def _attribute(model: nn.Module, name: str) -> Any:
    owner, _, last = name.rpartition(".")
    return getattr(model.get_submodule(owner), last)


def shape_of(node: fx.Node) -> torch.Size | None:
    """The shape that `with_shapes` found for what `node` gives; None where that is no tensor."""
    return cast(torch.Size | None, node.meta.get("shape"))


def with_shapes(model: nn.Module, graph: fx.Graph, x: Tensor) -> None:
    """Note at each node the shape that it gives for one picture of `x`, which goes through the whole network once.

    The network's state and torch's generators are left as they were.
    """
    shapes: list[torch.Size | None] = []

    def look(node: fx.Node, inputs: tuple[Any, ...], given: Any) -> None:
        shapes.append(given.shape if isinstance(given, Tensor) else None)

    run_looking(runnable(model, copy.deepcopy(graph), {}), x[:1], look)
    for node, shape in zip(graph.nodes, shapes, strict=True):
        node.meta["shape"] = shape
