"""The graph of a network, that the pipeline and the cuts of layers share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tnbench.distributed.graph import LayerTracer, run_looking
from tnbench.distributed.pipeline.trace import operations, traced
from tnbench.distributed.sharding.row_norm import RowNorm
from tnbench.distributed.sharding.tracing import trace


class Net(nn.Module):
    """A layer of `tnbench.distributed`, dropout, and a layer that draws nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = RowNorm(nn.BatchNorm2d(2), None), nn.Sequential(nn.Conv2d(2, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(functional.dropout(self.norm(x), 0.5, training=self.training))
        return y


def names(graph: fx.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_pipeline_and_cuts_see_the_same_operations() -> None:
    net = Net()
    wanted = ["x", "norm", "dropout", "inner_0", "output"]
    assert names(traced(net).graph) == names(trace(net, [])[True]) == wanted
    assert names(LayerTracer([net.inner]).trace(net)) == ["x", "norm", "dropout", "inner", "output"]


def test_looking_moves_no_state_draws_nothing_and_does_not_depend_on_autocast() -> None:
    net, types = Net(), dict[str, Any]()
    net.inner.eval()
    before, drawn = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        run_looking(traced(net), torch.ones(2, 2, 4, 4), lambda node, inputs, given: types.update({node.name: given}))
    assert {given.dtype for given in types.values()} == {torch.float32}
    assert (net.training, net.inner.training) == (True, False)
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_operations_tell_what_they_compute() -> None:
    found = {operation.node.name: operation for operation in operations(traced(Net()), torch.ones(2, 2, 4, 4))}
    assert found["inner_0"].macs == 2 * 3 * 2 * 16
    assert found["norm"].macs == found["dropout"].macs == 0
    assert found["inner_0"].given.shape == (2, 3, 4, 4)
