"""Weight decay on the kernels that factors stand for."""

from __future__ import annotations

import pytest
import torch
from recipe_fits import trained
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.protocols import Guide
from tnbench.core.registry import Registry
from tnbench.engine.compress import swap_layers
from tnbench.engine.conditions import Conditions
from tnbench.engine.kernel_decay import KernelDecay, impulse_answers, kernel_sides
from tnbench.engine.swapped import Swapped

REGISTRY = Registry()
NAMES = [listing.name for listing in REGISTRY.listings("method")]
METHODS = [name for name in NAMES if REGISTRY.bind("method", parse_part("method", name)[0]).scope != "network"]


def layers() -> nn.Module:
    """Of every geometry: stride, dilation, groups, padding that mirrors, uneven sides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(8, 12, 3, stride=2, padding=1, padding_mode="reflect"),
            nn.Conv2d(12, 12, 3, dilation=2, bias=False),
            nn.Conv2d(12, 8, 1, stride=2),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 8, (3, 1)),
            nn.Linear(16, 36),
        ).double()


def swapped(model: nn.Module, method: str) -> Swapped:
    (atom,), rank = parse_part("method", method), "full" if method == "dense" else "x2"
    policy = REGISTRY.bind("rank", parse_part("rank", rank)[0])
    return swap_layers(model, [REGISTRY.bind("method", atom)], policy, Conditions(only=("*",)))


def dense_kernels(made: Swapped) -> dict[str, Tensor]:
    """Layer -> its kernel, from the method's own formula."""
    found = {}
    for name in made.ranks:
        target = made.targets[name]
        dense = target.dense(made.factors[name])
        grouped = dense.dim() > next(iter(target.layers.values())).weight.dim()
        found |= dict(zip(target.layers, dense if grouped else [dense], strict=True))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_s_answers_to_single_pixels_are_the_kernel_of_the_method_s_formula(method: str) -> None:
    model = layers()
    made = swapped(model, method)
    sides = kernel_sides(dict(model.named_children()))
    kernels = dense_kernels(made)
    assert kernels
    for name, kernel in kernels.items():
        answers = impulse_answers(made.model.get_submodule(name), sides[name])
        torch.testing.assert_close(answers.norm(), kernel.norm())
        if kernel.shape[1] == sides[name][0]:  # one group
            mirrored = answers.flip(list(range(2, answers.dim()))).transpose(0, 1)
            torch.testing.assert_close(mirrored, kernel.reshape(mirrored.shape))


def test_the_gradient_is_that_of_the_kernel_s_norm() -> None:
    model = nn.Sequential(nn.Conv2d(8, 6, 3, stride=2)).double()
    made = swapped(model, "tucker2")
    decay = KernelDecay(made.model, kernel_sides({"0": model[0]}), 0.3)
    weights = [weight for weight in made.model.parameters() if weight.ndim > 1]
    into, core, out = weights
    kernel = torch.einsum("ab,bcij,cd->adij", out[:, :, 0, 0], core, into[:, :, 0, 0])
    wanted = torch.autograd.grad(0.15 * kernel.square().sum(), weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    decay.add_gradients()
    for weight, gradient in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.grad, 1 + gradient)


def test_what_is_frozen_gets_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(20, 20)).double()
    made = swapped(model, "svd")
    one, other = (weight for weight in made.model.parameters() if weight.ndim > 1)
    other.grad = torch.zeros_like(other)
    KernelDecay(made.model, kernel_sides({"0": model[0]}), 1.0).add_gradients()
    assert one.grad is None
    assert other.grad is not None
    assert other.grad.any()


class Square(nn.Module):
    """No linear layer: it has no kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight)


def test_a_layer_that_shows_no_kernel_is_refused_by_name() -> None:
    with pytest.raises(NotApplicable, match="the kernel of layer 'odd', a Square, cannot be read off it"):
        KernelDecay(nn.ModuleDict({"odd": Square()}), {"odd": (2, 3, 3)}, 0.1)


def chained() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(36, 12, bias=False), nn.Linear(12, 3)))


def test_only_the_decay_of_factorised_layers_changes_in_a_training() -> None:
    recipe = {"weight_decay": 0.1, "epochs": 1, "batch_size": 30, "momentum": 0.0, "schedule": "constant"}
    kernels = {"1": (36,)}
    none = trained(chained(), {**recipe, "weight_decay": 0.0}).state
    kernel = trained(chained(), {**recipe, "decay_on": "kernel"}, kernels=kernels).state
    one, other = (parameter.detach() for parameter in chained().parameters() if parameter.ndim > 1)
    pull = other.T @ (other @ one)
    torch.testing.assert_close(kernel["1.0.weight"], none["1.0.weight"] - 0.05 * 0.1 * pull)
    assert torch.equal(kernel["1.1.bias"], none["1.1.bias"])


def test_dense_layers_decay_as_ever() -> None:
    def linear() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))

    factors = trained(linear(), {"weight_decay": 0.1})
    kernel = trained(linear(), {"weight_decay": 0.1, "decay_on": "kernel"}, kernels={"1": (36,)})
    assert all(torch.equal(value, kernel.state[name]) for name, value in factors.state.items())


class Frozen(Guide):
    def before_step(self, model: nn.Module) -> None:
        model.get_parameter("1.0.weight").grad = None


def test_a_factor_that_a_guide_freezes_does_not_decay() -> None:
    run = trained(chained(), {"weight_decay": 0.1, "decay_on": "kernel"}, kernels={"1": (36,)}, guide=Frozen())
    assert torch.equal(run.state["1.0.weight"], chained().state_dict()["1.0.weight"])
