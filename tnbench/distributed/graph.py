"""The graph of a network by torch.fx: which layers are single nodes, and a run in which every node is looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from tnbench.distributed.sharding.chains import is_own_layer
from tnbench.engine.evaluate import mode_of

Look = Callable[[fx.Node, tuple[Any, ...], Any], None]
"""``look(node, inputs, given)``: what a node was called with, keywords apart, and what it gave."""


class LayerTracer(fx.Tracer):
    """Records a forward method; torch's layers, ours and `leaves` are single nodes."""

    def __init__(self, leaves: Collection[nn.Module] = ()) -> None:
        super().__init__()
        self._leaves = {id(module) for module in leaves}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """As torch asks it."""
        own = is_own_layer(m) or type(m).__module__.startswith("tnbench.distributed.")
        return id(m) in self._leaves or own or super().is_leaf_module(m, module_qualified_name)


def run_looking(graph: fx.GraphModule, pictures: Tensor, look: Look) -> None:
    """Run `graph` on `pictures` in eval mode, and let `look` see every node.

    Nothing is learnt; modes and torch's generators are left as they were. Autocast is off, so that types are those of
    the network itself wherever this is called.
    """
    device = pictures.device
    own_generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with torch.no_grad(), own_generators, _autocast_off(device), mode_of(cast(nn.Module, graph), training=False):
        _Looking(graph, look).run(pictures)


def _autocast_off(device: torch.device) -> AbstractContextManager[Any]:
    there = torch.amp.is_autocast_available(device.type)  # not on the meta device
    return torch.autocast(device.type, enabled=False) if there else nullcontext()


class _Looking(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, look: Look) -> None:
        super().__init__(graph)
        self._look = look

    def run_node(self, n: fx.Node) -> Any:
        given = super().run_node(n)
        inputs, _ = self.fetch_args_kwargs_from_env(n)
        self._look(n, inputs, given)
        return given
