import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.layers.tt_linear import TTLinear, modes_of, pack, train_macs, unpack
from tnbench.linalg.tt_matrix import contract

OUT, INP, RANKS = (2, 3, 4), (5, 4, 3), (1, 6, 7, 1)


def drawn() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = zip(RANKS, OUT, INP, RANKS[1:], strict=False)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) / 4 for shape in shapes]


def like(**given: bool) -> nn.Linear:
    return nn.Linear(60, 24, dtype=torch.float64, **given)


def module(bias: bool = True) -> TTLinear:
    return TTLinear([pack(core) for core in drawn()], like(bias=bias))


@pytest.mark.parametrize("lead", [(), (1,), (7,), (2, 3), (0,)])
@pytest.mark.parametrize("bias", [True, False])
def test_computes_the_matrix_on_any_leading_dimensions(lead: tuple[int, ...], bias: bool) -> None:
    layer = module(bias)
    x = torch.randn(*lead, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = layer(x)
    assert got.shape == (*lead, 24)
    assert got.is_contiguous()
    assert torch.allclose(got, nn.functional.linear(x, contract(drawn()), layer.bias))


def test_gradients_are_those_of_the_matrix() -> None:
    layer = module()
    cores = [core.requires_grad_() for core in drawn()]
    x = torch.randn(5, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layer(x).square().sum().backward()
    nn.functional.linear(x, contract(cores), layer.bias.detach()).square().sum().backward()
    for parameter, core in zip(layer.cores, cores, strict=True):
        assert torch.allclose(parameter.grad, pack(core.grad))


def test_multiply_accumulates_are_those_of_the_products() -> None:
    layer, x = module(), torch.zeros(3, 2, 60, dtype=torch.float64)
    by_hand = 1 * 6 * (2 * 5) * (4 * 3) + 6 * 7 * (3 * 4) * 2 * 3 + 7 * 1 * (4 * 3) * (2 * 3)
    assert train_macs(OUT, INP, RANKS) == by_hand
    with FlopCounterMode(display=False) as flops:
        layer(x)
    assert layer.macs(x.shape, torch.Size((3, 2, 24))) == 6 * by_hand == flops.get_total_flops() / 2


def test_packing_keeps_the_cores() -> None:
    packed = [pack(core) for core in drawn()]
    assert modes_of(packed) == (OUT, INP, RANKS)
    assert all(torch.equal(one, two) for one, two in zip(unpack(packed), drawn(), strict=True))


def test_plain_form_is_separate_and_keeps_mode_and_frozen_weights() -> None:
    frozen = TTLinear([pack(core) for core in drawn()], like().requires_grad_(False).eval())
    plain = frozen.to_sequential()
    assert not any(part.training for part in plain.modules())
    assert not any(parameter.requires_grad for parameter in (*frozen.parameters(), *plain.parameters()))
    x = torch.ones(3, 60, dtype=torch.float64)
    wanted = frozen(x)
    for parameter in frozen.parameters():
        parameter.data.zero_()
    assert torch.allclose(plain(x), wanted)


def test_its_text_names_modes_and_ranks() -> None:
    assert "inp=5x4x3, out=2x3x4, ranks=(6, 7)" in repr(module())


def test_modes_of_one_and_copies() -> None:
    cores = [torch.ones(1, 1, 7, 2), torch.ones(2, 5, 1, 1)]
    layer = copy.deepcopy(TTLinear([pack(core) for core in cores], nn.Linear(7, 5, bias=False)))
    assert torch.equal(layer(torch.ones(1, 7)), torch.full((1, 5), 14.0))
    assert math.prod(layer.inp) == 7
