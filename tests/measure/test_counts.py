import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.core.protocols import Pixels
from tnbench.measure.counts import count_macs, count_params, pixels_of, state_bytes

LAYERS = [
    (nn.Conv2d(4, 6, 3, stride=(2, 1), padding=1), (4, 9, 10)),
    (nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 9, 10)),
    (nn.Conv1d(4, 6, 3), (4, 9)),
    (nn.Conv3d(2, 3, 3), (2, 5, 6, 7)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 6)),
    (nn.Linear(5, 7), (5,)),
    (nn.Linear(5, 7), (3, 5)),
]


@pytest.mark.parametrize(("layer", "in_shape"), LAYERS, ids=lambda value: str(value)[:30])
def test_macs_are_half_of_torchs_flops(layer: nn.Module, in_shape: tuple[int, ...]) -> None:
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        layer(torch.zeros(1, *in_shape))
    assert count_macs(layer, in_shape) == flops.get_total_flops() / 2


def test_a_layer_that_runs_twice_counts_twice_and_a_shared_parameter_once() -> None:
    layer = nn.Linear(3, 3)
    assert count_macs(nn.Sequential(layer, layer), (3,)) == 18
    assert count_params(nn.Sequential(layer, layer)) == 12


def test_counting_leaves_modes_statistics_and_hooks_as_they_were() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout().eval())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, (3, 8, 8))
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model[0]._forward_hooks


def test_hooks_are_gone_after_a_forward_pass_that_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(RuntimeError):
        count_macs(model, (4,))
    assert not model[0]._forward_hooks


def test_bytes_include_buffers() -> None:
    assert state_bytes(nn.BatchNorm2d(3)) == 4 * 3 * 4 + 8
    assert state_bytes(nn.Linear(3, 2).double()) == 8 * 8


@pytest.mark.parametrize(
    ("layer", "pixels"),
    [
        (nn.Conv2d(3, 4, 3, stride=(2, 1), padding=1), Pixels(90, 50, 50)),
        (nn.Conv2d(3, 4, 3, stride=2, dilation=2), Pixels(90, 30, 9)),
        (nn.Conv2d(3, 4, 1, stride=2), Pixels(25, 25, 25)),
        (nn.Conv2d(3, 4, (3, 1), stride=2), Pixels(45, 20, 20)),
        (nn.Conv2d(3, 4, (2, 5), padding="same"), Pixels(90, 90, 90)),
        (nn.Conv2d(3, 4, 3, padding="valid"), Pixels(90, 70, 56)),
        (nn.Linear(3, 4), Pixels(1, 1, 1)),
    ],
    ids=str,
)
def test_pixels_of_a_layer_on_9_by_10(layer: nn.Module, pixels: Pixels) -> None:
    assert pixels_of(layer, (9, 10)) == pixels
    if isinstance(layer, nn.Conv2d) and layer.padding != "same":
        height, width = layer(torch.zeros(1, 3, 9, 10)).shape[2:]
        assert pixels.out == height * width
