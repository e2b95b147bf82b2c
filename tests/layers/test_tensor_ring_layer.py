import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.layers.tensor_ring import TensorRing
from tnbench.methods.tensor_ring import Options, dense

R0, RM, RN = 2, 3, 4


def cores(kernel: tuple[int, ...] | None) -> tuple[list[Tensor], Tensor | None, list[Tensor]]:
    """Inputs 6 = 3 · 2 and outputs 8 = 2 · 4 with ranks 2, 5, 3 before the kernel and 4, 5 behind it."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    middle = RM if kernel is None else RN
    inp, out = [drawn(R0, 3, 5), drawn(5, 2, RM)], [drawn(middle, 2, 5), drawn(5, 4, R0)]
    return inp, None if kernel is None else drawn(RN, RM, *kernel), out


@pytest.mark.parametrize(
    "like",
    [
        nn.Conv1d(6, 8, 3, padding=1),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.Conv2d(6, 8, (3, 1), stride=2, padding=1),
        nn.Conv2d(6, 8, 1, stride=2),
        nn.Conv3d(6, 8, (1, 3, 2), bias=False),
        nn.Linear(6, 8),
    ],
    ids=str,
)
def test_module_and_plain_form_compute_the_layer(like: nn.Module) -> None:
    like = like.double()
    linear = isinstance(like, nn.Linear)
    parts = cores(None if linear else tuple(like.kernel_size))
    x = torch.randn(2, 6, *(() if linear else (7, 6, 5)[: len(like.kernel_size)]), dtype=torch.float64)
    layer = TensorRing(*parts, like)
    inp, kernel, out = parts
    whole = (*inp, *(() if kernel is None else (kernel,)), *out)
    like.weight.data.copy_(dense(whole, options=Options(inp=(3, 2), out=(2, 4))))
    assert torch.allclose(layer(x), like(x))
    plain = layer.to_sequential()
    assert torch.allclose(plain(x), like(x))
    with FlopCounterMode(display=False) as flops:
        plain(x)
    assert layer.macs(x.shape, like(x).shape) == flops.get_total_flops() / 2


def test_multiply_accumulates_by_hand() -> None:
    layer = TensorRing(*cores((3, 3)), nn.Conv2d(6, 8, 3))
    by_hand = 6 * R0 * RM * 90 + (R0 * 9 * RM * RN + 8 * R0 * RN) * 56
    assert layer.macs(torch.Size((2, 6, 9, 10)), torch.Size((2, 8, 7, 8))) == 2 * by_hand
    assert "inp=3x2, out=2x4, r0=2" in repr(layer)


def test_the_kernel_is_one_parameter_for_all_copies() -> None:
    layer = TensorRing(*cores((3, 3)), nn.Conv2d(6, 8, 3))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 30 + 30 + 108 + 40 + 40 + 8
