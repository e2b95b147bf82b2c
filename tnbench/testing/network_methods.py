"""Public checks of a method that makes a whole new network (``SCOPE = "network"``).

>>> from tnbench.methods import filter_l1
>>> check_network_method(filter_l1)
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tnbench.core.protocols import NetworkMethod
from tnbench.engine.applied import Functions
from tnbench.measure.counts import count_params

Rebuild = Callable[[float], nn.Module]


def sample_network(width: float = 1.0) -> nn.Module:
    """Two convolutions with BatchNorm and a linear layer for pictures (3, 8, 8), drawn from seed 0."""
    inner = max(1, round(12 * width))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, inner, 3, padding=1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, 2 * inner, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * inner, 5),
        )


def check_network_method(method: NetworkMethod, options: Any = None, rebuild: Rebuild | None = sample_network) -> None:
    """Run every check on a small network. Raises AssertionError that says what was got and wanted."""
    model = sample_network()
    functions = Functions(method, options)
    refusal = functions.refuses_network(model)
    _require(refusal is None, f"refuses_network: got {refusal!r} for a plain network, wanted None")
    check_untouched(functions, model, rebuild)
    check_widths(functions, model, rebuild)
    check_deterministic(functions, model, rebuild)


def check_untouched(functions: Functions, model: nn.Module, rebuild: Rebuild | None) -> None:
    """The network given is left as it was, and the new one shares no memory with it."""
    before = copy.deepcopy(model.state_dict())
    for parameter in functions.narrowed(model, functions.widths(model) // 2, seed=0, rebuild=rebuild).parameters():
        parameter.data.add_(1.0)
    for name, tensor in model.state_dict().items():
        _require(torch.equal(tensor, before[name]), f"the network's {name} changed, at once or with the new one")


def check_widths(functions: Functions, model: nn.Module, rebuild: Rebuild | None) -> None:
    """Every width runs, parameters grow with it, and the full width has those of the network given."""
    steps, picture = int(functions.widths(model)), torch.zeros(2, 3, 8, 8)
    wanted, last = model(picture).shape, 0
    for width in sorted({1, max(1, steps // 3), max(1, 2 * steps // 3), steps}):
        made = functions.narrowed(model, width, seed=0, rebuild=rebuild)
        got = made(picture).shape
        _require(got == wanted, f"output's shape at width {width}: got {tuple(got)}, wanted {tuple(wanted)}")
        params = count_params(made)
        _require(params >= last, f"parameters at width {width}: got {params}, and {last} at a smaller one")
        last = params
    _require(last == count_params(model), f"parameters at the full width: got {last}, wanted {count_params(model)}")


def check_deterministic(functions: Functions, model: nn.Module, rebuild: Rebuild | None) -> None:
    """One seed gives the same bits, and the global generator is neither used nor moved."""
    before = torch.get_rng_state()
    one, two = (functions.narrowed(model, functions.widths(model) // 2, seed=0, rebuild=rebuild) for _ in range(2))
    _require(torch.equal(before, torch.get_rng_state()), "torch's global generator moved; use one of your own")
    same = all(torch.equal(one.state_dict()[name], tensor) for name, tensor in two.state_dict().items())
    _require(same, "narrowed: got other bits from the same seed")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
