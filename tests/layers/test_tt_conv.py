import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.layers.tt_conv import TTConv, tt_conv_macs
from tnbench.layers.tt_linear import pack
from tnbench.methods.tt_conv import dense

OUT, INP, RANKS = (2, 4), (3, 2), (5, 3, 1)
SIDES = {1: (11,), 2: (9, 10), 3: (5, 6, 7)}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def factors(kernel: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    cores = [
        pack(torch.randn(RANKS[j], OUT[j], INP[j], RANKS[j + 1], generator=generator, dtype=torch.float64))
        for j in range(len(OUT))
    ]
    return [torch.randn(RANKS[0], 1, *kernel, generator=generator, dtype=torch.float64), *cores]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_module_and_plain_form_compute_the_convolution(dimensions: int, bias: bool, mode: str) -> None:
    like = CONVOLUTIONS[dimensions](6, 8, 3, stride=2, padding=1, padding_mode=mode, bias=bias, dtype=torch.float64)
    layer = TTConv(factors(tuple(like.kernel_size)), like)
    x = torch.randn(2, 6, *SIDES[dimensions], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    like.weight.data.copy_(dense(tuple(factors(tuple(like.kernel_size)))))
    assert torch.allclose(layer(x), like(x))
    assert torch.allclose(layer.to_sequential()(x), like(x))


def test_multiply_accumulates_are_those_of_the_products() -> None:
    layer = TTConv(factors((3, 5)), nn.Conv2d(6, 8, (3, 5), dtype=torch.float64))
    x = torch.zeros(2, 6, 9, 10, dtype=torch.float64)
    by_hand = 15 * 5 * 6 + 5 * 3 * (2 * 3) * 2 + 3 * 1 * (4 * 2) * 2
    assert tt_conv_macs((3, 5), OUT, INP, RANKS) == by_hand
    with FlopCounterMode(display=False) as flops:
        out = layer(x)
    assert layer.macs(x.shape, out.shape) == 2 * 7 * 6 * by_hand == flops.get_total_flops() / 2
    assert "inp=3x2, out=2x4, ranks=(5, 3)" in repr(layer)


@pytest.mark.parametrize("channels", [1, 6])
def test_memory_format_is_kept(channels: int) -> None:
    like = nn.Conv2d(channels, 4, 3)
    cores = [pack(torch.ones(2, 4, channels, 1))]
    layer = TTConv([torch.ones(2, 1, 3, 3), *cores], like)
    x = torch.ones(2, channels, 6, 7)
    assert layer(x).is_contiguous()
    assert layer(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
