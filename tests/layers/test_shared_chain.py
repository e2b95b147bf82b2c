"""Layers that share factors: one Parameter in all of them, and each a chain of its own."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.layers.shared_chain import SharedChain
from tnbench.measure.counts import count_macs, count_params

STACKED = [(4, 6, 1, 1), (3, 5, 4, 3, 5), (8, 5, 1, 1)]
"""Tucker: the middle factor is a stack of three."""
SCALED = [(7, 6, 1, 1), (7, 1, 3, 1), (7, 1, 1, 5), (8, 7, 1, 1)]
"""CP: the last factor's columns are scaled."""
KINDS = {"stack": (STACKED, 1, 3), "columns": (SCALED, 3, 7)}

LIKES: list[dict[str, Any]] = [
    {},
    {"stride": (2, 1), "padding": (1, 2)},
    {"dilation": 2, "padding": "same", "bias": False},
    {"padding": (2, 2), "padding_mode": "reflect", "stride": 2},
]


def _drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _layers(kind: str) -> tuple[list[SharedChain], list[nn.Conv2d]]:
    shapes, mixed, many = KINDS[kind]
    factors = [nn.Parameter(_drawn(shape, index)) for index, shape in enumerate(shapes)]
    likes = [nn.Conv2d(6, 8, (3, 5), **given).double() for given in LIKES]
    rows = [_drawn((many,), 10 + index) for index in range(len(likes))]
    shape = None
    if kind == "stack":
        shape = shapes[mixed][1:]
        factors[mixed] = nn.Parameter(factors[mixed].detach().flatten(1))
    return [SharedChain(factors, row, mixed, like, shape=shape) for row, like in zip(rows, likes, strict=True)], likes


def _picture() -> Tensor:
    return _drawn((2, 6, 9, 10), 100)


def _weight(layer: SharedChain, kind: str) -> Tensor:
    inp, *_ = layer.factors
    if kind == "stack":
        _, core, out = layer.factors
        core = core.unflatten(1, (5, 4, 3, 5))
        return torch.einsum("a,abcij,cd,ob->odij", layer.row[0], core, inp[:, :, 0, 0], out[:, :, 0, 0])
    _, vertical, horizontal, out = layer.factors
    sides = vertical[:, 0, :, 0], horizontal[:, 0, 0]
    return torch.einsum("r,rd,ri,rj,or->odij", layer.row[0], inp[:, :, 0, 0], *sides, out[:, :, 0, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_computes_what_its_own_mixture_does(kind: str) -> None:
    for layer, like in zip(*_layers(kind), strict=True):
        like.weight.data.copy_(_weight(layer, kind))
        assert torch.allclose(layer(_picture()), like(_picture()), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_multiplications_are_those_of_the_plain_chain(kind: str) -> None:
    layers, _ = _layers(kind)
    for layer in layers:
        plain = layer.to_sequential()
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            plain(_picture()[:1])
        assert count_macs(layer, (6, 9, 10)) == count_macs(plain, (6, 9, 10)) == flops.get_total_flops() / 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_form_is_a_copy_in_the_same_mode(kind: str) -> None:
    for layer in _layers(kind)[0]:
        layer.eval().requires_grad_(False)
        plain = layer.to_sequential()
        assert all(type(part) in (nn.Sequential, nn.Conv2d) for part in plain.modules())
        assert not any(part.training for part in plain.modules())
        assert not any(parameter.requires_grad for parameter in plain.parameters())
        wanted = layer(_picture())
        for parameter in layer.parameters():
            parameter.zero_()
        assert torch.equal(plain(_picture()), wanted)


def test_a_trained_bias_stays_trained_when_the_plain_form_of_frozen_weights_is_made() -> None:
    layer = _layers("stack")[0][0]
    layer.row.requires_grad_(False)
    layer.to_sequential()
    assert layer.bias.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shared_is_one_parameter_in_copies_moves_and_training(kind: str) -> None:
    network = nn.Sequential(*_layers(kind)[0][:1], nn.Conv2d(8, 6, 1).double(), *_layers(kind)[0][1:2])
    shared = nn.Sequential(*(module for module in _layers(kind)[0]))
    weights = sum(parameter.numel() for parameter in shared[0].factors)
    rows = sum(layer.row.numel() + (0 if layer.bias is None else layer.bias.numel()) for layer in shared)
    assert count_params(shared) == weights + rows
    assert count_params(network) > weights + rows
    for other in (copy.deepcopy(shared), copy.deepcopy(shared).float(), copy.deepcopy(shared).to(torch.bfloat16)):
        assert count_params(other) == count_params(shared)
        assert all(other[0].factors[0] is layer.factors[0] for layer in other)
        assert not any(parameter is own for parameter in other.parameters() for own in shared.parameters())
    optimiser = torch.optim.SGD(shared.parameters(), lr=0.1)
    before = shared[0].factors[0].detach().clone()
    sum(layer(_picture()).square().mean() for layer in shared).backward()
    optimiser.step()
    assert not torch.equal(shared[3].factors[0], before)
    assert shared[3].factors[0] is shared[0].factors[0]


def test_gradients_of_all_layers_meet_in_what_they_share() -> None:
    layers = _layers("stack")[0]
    together = sum(layer(_picture()).sum() for layer in layers)
    (whole,) = torch.autograd.grad(together, [layers[0].factors[1]])
    parts = [torch.autograd.grad(layer(_picture()).sum(), [layer.factors[1]])[0] for layer in layers]
    assert torch.allclose(whole, torch.stack(parts).sum(0))


def test_a_state_dict_goes_round_and_leaves_what_is_shared_shared() -> None:
    one, two = nn.Sequential(*_layers("columns")[0]), nn.Sequential(*_layers("columns")[0])
    for parameter in two.parameters():
        parameter.data.zero_()
    two.load_state_dict(one.state_dict())
    assert torch.equal(two[0](_picture()), one[0](_picture()))
    assert two[0].factors[1] is two[1].factors[1]


def test_the_row_is_a_weight_to_an_optimiser_that_decays_matrices_only() -> None:
    assert _layers("stack")[0][0].row.shape == (1, 3)


def test_a_linear_layer_takes_any_leading_dimensions() -> None:
    like = nn.Linear(6, 8).double()
    factors = [nn.Parameter(_drawn(shape, index)) for index, shape in enumerate([(3, 24), (8, 4)])]
    layer = SharedChain(factors, _drawn((3,), 5), 0, like, shape=(4, 6))
    inp, out = factors
    like.weight.data.copy_(torch.einsum("a,abi,ob->oi", layer.row[0], inp.unflatten(1, (4, 6)), out))
    picture = _drawn((2, 5, 6), 9)
    assert torch.allclose(layer(picture), like(picture))
    assert layer.macs(picture.shape, torch.Size((2, 5, 8))) == 10 * (24 + 32)
    assert torch.equal(layer.to_sequential()(picture), layer(picture))


def test_what_it_is_can_be_read() -> None:
    assert "4x6x1x1, 5x4x3x5, 8x5x1x1, number 1 mixed of 3, bias=True" in repr(_layers("stack")[0][0])
