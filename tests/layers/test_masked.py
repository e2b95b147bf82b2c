"""Zeros stay zero, whatever happens to the module that keeps them."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tnbench.layers.masked import Masked

LAYERS = {
    "conv1d": lambda: (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "conv2d": lambda: (nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="circular"), (2, 4, 9, 8)),
    "conv3d": lambda: (nn.Conv3d(4, 6, 2, bias=False), (2, 4, 4, 5, 3)),
    "grouped": lambda: (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 7, 7)),
    "depthwise": lambda: (nn.Conv2d(4, 4, 3, groups=4), (2, 4, 7, 7)),
    "linear": lambda: (nn.Linear(4, 6), (2, 3, 4)),
}


def masked(kind: str) -> tuple[Masked, nn.Module, torch.Tensor]:
    """A layer with every other weight zero, a plain twin of it, and an input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, shape = LAYERS[kind]()
        x = torch.randn(shape)
    layer.weight.data.view(-1)[::2] = 0
    return Masked(layer), copy.deepcopy(layer), x


def fitted(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """After three steps with momentum and weight decay."""
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        module(x).square().sum().backward()
        optimiser.step()
    return module


@pytest.mark.parametrize("kind", LAYERS)
def test_it_computes_what_the_plain_layer_does(kind: str) -> None:
    module, plain, x = masked(kind)
    assert torch.equal(module(x), plain(x))
    with torch.no_grad():
        assert torch.equal(module(x), plain(x))
    assert torch.equal(module.to_sequential()(x), plain(x))


@pytest.mark.parametrize("kind", LAYERS)
def test_training_moves_every_weight_but_the_zeros(kind: str) -> None:
    module, plain, x = masked(kind)
    fitted(module, x)
    kept = plain.weight != 0
    assert torch.equal(module.layer.weight != 0, kept)
    assert (module.layer.weight != plain.weight)[kept].all()
    assert fitted(plain, x).weight.count_nonzero() == plain.weight.numel(), "a plain layer fills its zeros"


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_of_a_trained_module_keeps_its_zeros_in_further_training(travel) -> None:
    module, plain, x = masked("conv2d")
    with torch.enable_grad():
        module(x)  # a hook would now hold a tensor of a graph
    copied = fitted(travel(fitted(module, x)), x)
    assert torch.equal(copied.layer.weight != 0, plain.weight != 0)


def test_the_mask_goes_where_the_state_dict_goes() -> None:
    module, plain, x = masked("linear")
    other = Masked(nn.Linear(4, 6))
    other.load_state_dict(module.state_dict())
    assert set(module.state_dict()) == {"layer.weight", "layer.bias"}
    assert torch.equal(fitted(other, x).layer.weight != 0, plain.weight != 0)


def test_it_compiles_into_one_graph() -> None:
    module, plain, x = masked("conv2d")
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), plain(x))
    assert torch.equal(fitted(compiled, x).layer.weight != 0, plain.weight != 0)


def test_it_is_in_the_mode_of_its_layer_and_frozen_weights_stay_frozen() -> None:
    module = Masked(nn.Linear(4, 6).eval().requires_grad_(False))
    assert not module.training
    assert not module(torch.ones(1, 4)).requires_grad
