"""Public checks of a method that factorises several layers as one tensor (``SCOPE = "group"``)."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from tnbench.core.protocols import GroupMethod, Ranks
from tnbench.engine.applied import Functions, OnGroup
from tnbench.measure.counts import count_macs, count_params, layer_sizes
from tnbench.testing.methods import sample_layer

PICTURE = (6, 9, 10)


class Stack(nn.Module):
    """Three 3x3 convolutions of one shape, the second with a stride and the third without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(6, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 6, 3, padding=1, stride=(2, 1))
        self.three = nn.Conv2d(6, 6, 3, padding=2, dilation=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 6, H, W) to (N, 6, H', W)."""
        out: Tensor = self.three(self.two(self.one(x)))
        return out


def check_group_method(method: GroupMethod, options: Any = None) -> None:
    """Run every check on a stack of three layers. Raises AssertionError that says what was got and wanted."""
    model = sample_layer(Stack)
    functions = Functions(method, options)
    layers = dict(model.named_children())
    groups = functions.groups(layers)
    members = sorted(name for names in groups.values() for name in names)
    _require(members == sorted(layers), f"groups: got {members}, wanted every layer once: {sorted(layers)}")
    for name, names in groups.items():
        target = OnGroup(functions, name, {member: layers[member] for member in names})
        for ranks in _sample_ranks(target):
            check_count(target, ranks)
            check_outputs(target, ranks)
            check_macs(target, ranks, model)
        check_largest_ranks(target)
        check_tied(target, model)
        check_deterministic(target)


def check_count(target: OnGroup, ranks: Ranks) -> None:
    """`count` is the number of entries of the factors and of the layers' parameters, each shared one once."""
    factors = target.factorise(ranks, seed=0)
    counted, held = target.count(ranks), sum(factor.numel() for factor in factors)
    _require(counted == held, f"count at ranks {ranks}: got {counted}, the factors hold {held} weights")
    biases = sum(layer.bias.numel() for layer in target.layers.values() if isinstance(layer.bias, Tensor))
    held = count_params(nn.ModuleList(target.modules(factors).values())) - biases
    _require(counted == held, f"count at ranks {ranks}: got {counted}, the layers hold {held} weights")


def check_outputs(target: OnGroup, ranks: Ranks) -> None:
    """Each layer computes what it did with its own part of the reconstructed weights."""
    doubled = OnGroup(target._functions, target.name, {n: copy.deepcopy(m).double() for n, m in target.layers.items()})
    factors = doubled.factorise(ranks, seed=0)
    weights, modules = doubled.dense(factors), doubled.modules(factors)
    picture = torch.randn(2, *PICTURE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for (name, layer), weight in zip(doubled.layers.items(), weights, strict=True):
        twin = copy.deepcopy(layer)
        cast(Tensor, twin.weight).data.copy_(weight)
        apart = float((modules[name](picture) - twin(picture)).detach().abs().max())
        _require(apart < 1e-9, f"output of {name!r}: got {apart:.2g} away from the layer with its part of the weights")


def check_macs(target: OnGroup, ranks: Ranks, model: nn.Module) -> None:
    """`macs` is what the modules add up to."""
    modules = target.modules(target.factorise(ranks, seed=0))
    swapped = copy.deepcopy(model)
    for name, module in modules.items():
        setattr(swapped, name, module)
    wanted, counted = target.macs(ranks, layer_sizes(model, PICTURE)), count_macs(swapped, PICTURE)
    _require(wanted == counted, f"macs at ranks {ranks}: got {wanted}, the modules do {counted}")


def check_largest_ranks(target: OnGroup) -> None:
    """The largest useful ranks reproduce all the weights."""
    dense = target.dense(target.factorise(target.largest, seed=0))
    error = float(torch.dist(dense, target.weight) / target.weight.norm())
    _require(error < 1e-5, f"error at the largest ranks {target.largest}: got {error:.2g}, wanted none")


def check_tied(target: OnGroup, model: nn.Module) -> None:
    """What layers share stays shared in a copy of the network, and after a step of training."""
    network = copy.deepcopy(model)
    for name, module in target.modules(target.factorise(_sample_ranks(target)[0], seed=0)).items():
        setattr(network, name, module)
    copied = copy.deepcopy(network).to(torch.float64)
    _require(
        count_params(copied) == count_params(network),
        f"parameters of a copy: got {count_params(copied)}, wanted {count_params(network)}",
    )
    copied(torch.ones(1, *PICTURE, dtype=torch.float64)).sum().backward()
    lacking = [name for name, parameter in copied.named_parameters() if parameter.grad is None]
    _require(not lacking, f"gradients: got none for {', '.join(lacking)}")


def check_deterministic(target: OnGroup) -> None:
    """One seed gives the same bits, and the global generator is neither used nor moved."""
    before, ranks = torch.get_rng_state(), _sample_ranks(target)[0]
    one, two = (target.factorise(ranks, seed=0) for _ in range(2))
    _require(torch.equal(before, torch.get_rng_state()), "torch's global generator moved; use one of your own")
    _require(all(map(torch.equal, one, two)), f"factors at ranks {ranks}: got other bits from the same seed")


def _sample_ranks(target: OnGroup) -> list[Ranks]:
    return [tuple(max(1, rank * part // 3) for rank in target.largest) for part in (1, 2, 3)]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
