"""Factors to train from scratch: each reconstruction has the variance of the weight that was drawn for the layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import OnLayer, functions_of
from tnbench.engine.compress import compress_network, swap_layers
from tnbench.engine.conditions import Conditions

REGISTRY = Registry()
QUICK = {
    "cp": "cp[iters=2]",
    "cp3": "cp3[iters=2]",
    "cp_epc": "cp_epc[iters=2,sweeps=2]",
    "tkd_cpd": "tkd_cpd[iters=2,sweeps=2]",
    "block_term": "block_term[iters=2]",
    "tensor_ring": "tensor_ring[sweeps=2]",
}
SEEDS, DEPTH = 200, 20


def bound(name: str) -> Bound:
    return REGISTRY.bind("method", parse_part("method", QUICK.get(name, name))[0])


NAMES = [listing.name for listing in REGISTRY.listings("method")]
METHODS = [name for name in NAMES if bound(name).scope == "layer" and name not in ("dense", "magnitude")]


def drawn(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def served(name: str) -> Callable[[], nn.Module]:
    """The smallest of a few layers that the method serves and makes smaller."""
    for build in (lambda: nn.Conv2d(8, 8, 3, padding=1), lambda: nn.Linear(16, 16)):
        if functions_of(bound(name)).refuses(build()) is None:
            return build
    raise AssertionError(f"{name} serves neither a convolution nor a linear layer")


@pytest.mark.parametrize("name", METHODS)
def test_variance_is_that_of_torchs_own_draw(name: str) -> None:
    method, build = bound(name), served(name)
    target = OnLayer(functions_of(method), "", build())
    ranks = tuple(max(1, rank // 3) for rank in target.largest)
    method.module.factorise(target.weight, ranks, seed=0, options=method.options)  # these ranks can be had
    policy = REGISTRY.bind("rank", Atom("f0.34"))
    variances, wanted = [], []
    for seed in range(SEEDS):
        layer = drawn(seed, build)
        try:
            swapped = swap_layers(layer, [method], policy, Conditions(only=("*",), seed=seed, scratch=True))
        except NotApplicable as refusal:
            pytest.skip(f"{name} does not shrink this layer: {refusal}")
        weight = swapped.targets[""].dense(swapped.factors[""])
        own = float(layer.weight.detach().square().mean())
        assert float(weight.square().mean()) == pytest.approx(own, rel=1e-3)
        variances.append(float(weight.square().mean()))
        wanted.append(1 / (3 * layer.weight[0].numel()))  # U(-b, b) with b² = 1 / fan_in
    assert sum(variances) / SEEDS == pytest.approx(sum(wanted) / SEEDS, rel=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_a_signal_gets_through_twenty_layers(name: str) -> None:
    linear = isinstance(served(name)(), nn.Linear)

    def deep() -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(DEPTH):
            layer = nn.Linear(32, 32) if linear else nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular")
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            layers += [layer, nn.ReLU()]
        return nn.Sequential(*layers)

    model = drawn(0, deep)
    policy = REGISTRY.bind("rank", Atom("x2"))
    try:
        compressed = compress_network(model, [bound(name)], policy, Conditions(scratch=True)).model
    except NotApplicable as refusal:
        pytest.skip(f"{name} shrinks none of these layers: {refusal}")
    signal = torch.randn(16, *((32,) if linear else (32, 8, 8)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gain = float(compressed(signal).square().mean() / model(signal).square().mean())
    assert 0.01 < gain < 100, "twenty layers that each lose or gain a quarter would be at 0.003 or 87"


@pytest.mark.parametrize("form", ["tucker", "cp", "tt"])
def test_each_layer_of_a_group_keeps_its_own_norm(form: str) -> None:
    model = drawn(0, lambda: nn.Sequential(*(nn.Conv2d(8, 8, 3) for _ in range(3))))
    with torch.no_grad():
        model[1].weight *= 5
    policy, method = REGISTRY.bind("rank", Atom("x4")), REGISTRY.bind("method", Atom("tnet", (), (("format", form),)))
    swapped = swap_layers(model, [method], policy, Conditions(scratch=True))
    ((name, target),) = swapped.targets.items()
    reached = target.dense(swapped.factors[name]).flatten(1).norm(dim=1)
    assert torch.allclose(reached, target.weight.flatten(1).norm(dim=1), rtol=1e-4)
