"""The pass over a network's graph: what stays split, where values are joined, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Crew
from tnbench.distributed.collectives import counting
from tnbench.distributed.pool import RankPool
from tnbench.distributed.sharding.chains import chains_of
from tnbench.distributed.sharding.channel_rules import ChannelRules
from tnbench.distributed.sharding.channels import shard_channels
from tnbench.distributed.sharding.images import share_rows
from tnbench.distributed.sharding.rewrite import Decision, rewrite, states
from tnbench.distributed.sharding.tracing import trace
from tnbench.layers.chain import chain

C = 6


def cut(out: int = C, inp: int = C, stride: int = 1) -> nn.Sequential:
    """A chain that can be cut, of random factors."""
    drawn = torch.Generator().manual_seed(out)
    like = nn.Conv2d(inp, out, 3, stride=stride, padding=1)
    return chain(
        [torch.randn(shape, generator=drawn) / 3 for shape in ((4, inp, 1, 1), (4, 4, 3, 3), (out, 4, 1, 1))], like
    )


class Net(nn.Module):
    """A chain, then `between`, then another chain."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor], out: int = C, **modules: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.last = cut(), between, cut(inp=out)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.between(self, self.first(x)))
        return y


def module(net: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = net.module(x)  # type: ignore[operator]
    return y


def squeeze_and_excite(net: nn.Module, x: Tensor) -> Tensor:
    return x * torch.sigmoid(net.module(x.mean((2, 3), keepdim=True)))  # type: ignore[operator]


def twice(net: nn.Module, x: Tensor) -> Tensor:
    """One BatchNorm for split channels and for whole ones."""
    return net.module(net.module(x).flip(1))  # type: ignore[no-any-return, operator]


def scaled(net: nn.Module, x: Tensor) -> Tensor:
    return x * net.module.weight[:, None, None]  # type: ignore[index, operator, union-attr]


def by_size(net: nn.Module, x: Tensor) -> Tensor:
    return x / x.size(1)


def concatenated(net: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x, torch.tanh(x)], 1)


def softmax(net: nn.Module, x: Tensor) -> Tensor:
    return x.softmax(1)


def shuffled(net: nn.Module, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def dropped_in_training(net: nn.Module, x: Tensor) -> Tensor:
    return functional.dropout(x, 0.5, training=net.training)


def padded(net: nn.Module, x: Tensor) -> Tensor:
    return functional.pad(x, (1, 0, 1, 0))


def negative_sides(net: nn.Module, x: Tensor) -> Tensor:
    return x - x.mean((-2, -1), keepdim=True)


def average_and_maximum(net: nn.Module, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 2, 1) + functional.max_pool2d(x, 3, 2, 1)


def computed_window(net: nn.Module, x: Tensor) -> Tensor:
    return x - functional.avg_pool2d(x, x.size(3))


LOCAL: dict[str, Net] = {
    "batch norm": Net(module, module=nn.BatchNorm2d(C)),
    "without affine": Net(module, module=nn.BatchNorm2d(C, affine=False)),
    "without bias": Net(module, module=nn.BatchNorm2d(C, bias=False)),
    "without statistics": Net(module, module=nn.BatchNorm2d(C, track_running_stats=False)),
    "cumulative average": Net(module, module=nn.BatchNorm2d(C, momentum=None)),
    "relu in place": Net(module, module=nn.ReLU(inplace=True)),
    "max pool": Net(module, module=nn.MaxPool2d(3, 2, 1)),
    "average pool": Net(module, module=nn.AvgPool2d(2)),
    "pool functions": Net(average_and_maximum),
    "depthwise": Net(module, module=nn.Conv2d(C, C, 3, padding=1, groups=C)),
}
"""Between the chains nothing is joined along the channels."""

JOINED: dict[str, Net] = {
    "dense": Net(module, module=nn.Conv2d(C, C, 1)),
    "group norm": Net(module, module=nn.GroupNorm(2, C)),
    "prelu": Net(module, module=nn.PReLU()),
    "dense within the block": Net(squeeze_and_excite, module=nn.Conv2d(C, C, 1)),
    "shared batch norm": Net(twice, module=nn.BatchNorm2d(C)),
    "own parameter": Net(scaled, module=nn.BatchNorm2d(C)),
    "size": Net(by_size),
    "concatenation": Net(concatenated, out=2 * C),
    "softmax": Net(softmax),
    "channel shuffle": Net(shuffled),
    "padding": Net(padded),
    "negative sides": Net(negative_sides),
    "computed window": Net(computed_window),
    "ceil": Net(module, module=nn.MaxPool2d(3, 2, ceil_mode=True)),
    "padding not counted": Net(module, module=nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "reflected": Net(module, module=nn.Conv2d(C, C, 3, padding=1, padding_mode="reflect")),
    "same": Net(module, module=nn.Conv2d(C, C, (3, 4), padding="same")),
    "grouped": Net(module, module=nn.Conv2d(C, C, 3, padding=1, groups=2)),
}
"""Between the chains something wants all channels, or all rows, or is not known."""


def rank_errors(crew: Crew, *, rows: bool) -> dict[str, float]:
    """Largest difference of scores, input gradients and parameter gradients from the whole network's."""
    return {name: _error(crew, net, rows) for name, net in (LOCAL | JOINED).items()}


def _error(crew: Crew, net: Net, rows: bool) -> float:
    torch.manual_seed(0)
    whole = copy.deepcopy(net).double()
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.5)  # each rank drew its own when it imported this file
    x = torch.randn(3, C, 9, 8, dtype=torch.float64, requires_grad=True)
    own = copy.deepcopy(whole)
    called = share_rows(own, None, []) if rows else shard_channels(own, "bottleneck", None, [])[0]
    errors = []
    for training in (True, False):
        own.train(training), whole.train(training)
        wanted, got = whole(x), called(x)
        slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        (of_x,) = torch.autograd.grad(wanted, x, slope)
        (own_of_x,) = torch.autograd.grad(got, x, slope)
        errors += [(got - wanted).abs().max().item(), (own_of_x - of_x).abs().max().item()]
    if rows:
        names, parameters = zip(*whole.named_parameters(), strict=True)
        expected = torch.autograd.grad(whole(x), parameters, slope, allow_unused=True)
        given = torch.autograd.grad(called(x), [own.get_parameter(name) for name in names], slope, allow_unused=True)
        pairs = [(one, other) for one, other in zip(expected, given, strict=True) if one is not None]
        errors += [(one - other).abs().max().item() for one, other in pairs]
    return max(errors)


@pytest.mark.parametrize("rows", [False, True], ids=["channels", "rows"])
def test_whatever_stands_between_chains_gives_what_one_process_gives(rows: bool, two_ranks: RankPool) -> None:
    for found in two_ranks.run(partial(rank_errors, rows=rows)):
        wrong = {name: error for name, error in found.items() if not error < 1e-10}
        assert not wrong
        assert len(found) == len(LOCAL) + len(JOINED)


def exchanged_between(net: nn.Module) -> list[str]:
    """Names of the joins and splits between the two chains of a net, by the rules for channels."""
    chains = chains_of(net)
    graph = trace(net, chains.values())[True]
    rules = ChannelRules(net, chains, [graph])
    names = list(rewrite(graph, states(net, graph, rules), 1, None))
    return [name for name in names if name not in ("exchange.split_x", "exchange.join_last")]


@pytest.mark.parametrize("name", LOCAL)
def test_what_works_channel_by_channel_joins_nothing(name: str) -> None:
    assert exchanged_between(LOCAL[name]) == []


@pytest.mark.parametrize("name", sorted(JOINED.keys() - {"ceil", "padding not counted"}))
def test_what_wants_all_channels_gets_them(name: str) -> None:
    assert any(exchange.startswith("exchange.join") for exchange in exchanged_between(JOINED[name]))


def changed_below(net: nn.Module, x: Tensor) -> Tensor:
    return x + functional.relu(x, inplace=True)


def meets_another_size(net: nn.Module, x: Tensor) -> Tensor:
    return x + x.softmax(1).sum(1, keepdim=True)


def test_a_value_that_is_changed_while_others_read_it_is_refused() -> None:
    with pytest.raises(NotApplicable, match=r"changes the value first in place \(relu\) while something else reads it"):
        exchanged_between(Net(changed_below))


class Blended(nn.Module):
    """An operation of two values."""

    def __init__(self) -> None:
        super().__init__()
        self.blend = nn.Bilinear(2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blend(x, x + 1)
        return y


def test_an_operation_of_two_values_is_not_replaced_by_one_of_its_first() -> None:
    graph = trace(Blended(), [])[True]
    decisions = {node: Decision(module=nn.ReLU() if node.name == "blend" else None) for node in graph.nodes}
    with pytest.raises(NotApplicable, match=r"got 2 inputs \(x, add\) of the operation blend, whose work ranks can"):
        rewrite(graph, decisions, 1, None)


def refused(crew: Crew) -> str:
    called, _ = shard_channels(Net(meets_another_size), "bottleneck", None, [])
    try:
        called(torch.ones(1, C, 8, 8))
    except NotApplicable as error:
        return str(error)
    return "it can"


def test_a_whole_value_that_is_broadcast_along_channels_is_refused(two_ranks: RankPool) -> None:
    for reason in two_ranks.run(refused):
        assert "got a tensor (1, 1, 8, 8) that meets one whose side 1 of 6 the ranks share, wanted the same" in reason


def test_each_mode_has_its_graph_and_modes_stay_as_they_were() -> None:
    net = Net(dropped_in_training)
    net.last.eval()
    graphs = trace(net, [net.first, net.last])
    assert {training: _dropout(graph).kwargs["training"] for training, graph in graphs.items()} == {
        True: True,
        False: False,
    }
    assert (net.training, net.last.training) == (True, False)


def _dropout(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.target is functional.dropout)


def mode_and_state(crew: Crew) -> tuple[bool, bool, bool, int]:
    """After a first pass in training: the mode, whether the generator moved, eval mode drops nothing, and words."""
    net = Net(module, module=nn.BatchNorm2d(C))
    called = share_rows(net, None, [])
    before, state = torch.get_rng_state(), copy.deepcopy(net.state_dict())
    net.eval()
    called(torch.ones(2, C, 8, 8))
    unmoved = torch.equal(before, torch.get_rng_state())
    same = all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with counting() as counted, torch.no_grad():
        called(torch.ones(2, C, 8, 8))
    return net.training, unmoved, same, counted.of("all_reduce")


def test_looking_for_shapes_leaves_network_and_generator_as_they_were(two_ranks: RankPool) -> None:
    assert two_ranks.run(mode_and_state) == [(False, True, True, 0)] * 2


def frozen(crew: Crew) -> tuple[int, bool]:
    """Words of the backward pass of a chain of which only the last factor is trained, and whether it has a gradient."""
    layer = cut()
    for factor in layer[:2]:
        factor.weight.requires_grad_(False)
    called = share_rows(nn.Sequential(layer), None, [])
    y = called(torch.ones(1, C, 8, 8))
    with counting() as counted:
        y.sum().backward()
    return counted.of("all_reduce"), layer[2].weight.grad is not None


def test_frozen_factors_send_no_gradients(two_ranks: RankPool) -> None:
    assert two_ranks.run(frozen) == [(4 * C + C, True)] * 2


def composed(crew: Crew) -> tuple[str, tuple[int, int] | None]:
    from tnbench.distributed.sharding.crew import sharded_crew

    outer = dataclasses.replace(crew, wrap=lambda model: nn.Sequential(model), share=(1, 2))
    inner = sharded_crew(outer, None, lambda model: (model, {}))
    return type(inner.wrap(nn.Identity())).__name__, inner.share


def test_an_earlier_crew_wraps_what_is_shared_out_and_keeps_its_share(two_ranks: RankPool) -> None:
    assert two_ranks.run(composed) == [("Sequential", (1, 2))] * 2
