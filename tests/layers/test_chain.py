import pytest
import torch
from torch import nn

from tnbench.layers import plain
from tnbench.layers.chain import chain, refuses


def _separable(like: nn.Conv2d) -> nn.Sequential:
    return chain([torch.ones(2, 4, 1, 1), torch.ones(2, 1, 3, 1), torch.ones(2, 1, 1, 5), torch.ones(6, 2, 1, 1)], like)


def test_each_axis_belongs_to_the_factor_with_its_side() -> None:
    layers = _separable(nn.Conv2d(4, 6, (3, 5), stride=(2, 3), padding=(1, 4), dilation=(1, 2), padding_mode="reflect"))
    assert [layer.stride for layer in layers] == [(1, 1), (2, 1), (1, 3), (1, 1)]
    assert [layer.padding for layer in layers] == [(0, 0), (1, 0), (0, 4), (0, 0)]
    assert [layer.dilation for layer in layers] == [(1, 1), (1, 1), (1, 2), (1, 1)]
    assert [layer.padding_mode for layer in layers] == ["zeros", "reflect", "reflect", "zeros"]
    assert [layer.groups for layer in layers] == [1, 2, 2, 1]
    assert [layer.bias is not None for layer in layers] == [False, False, False, True]


def test_a_stride_of_a_1x1_kernel_goes_to_the_first_factor() -> None:
    layers = chain([torch.ones(2, 4, 1, 1), torch.ones(6, 2, 1, 1)], nn.Conv2d(4, 6, 1, stride=(2, 3)))
    assert [layer.stride for layer in layers] == [(2, 3), (1, 1)]


def test_the_first_1x1_of_a_separated_kernel_takes_the_stride_along_a_side_of_one() -> None:
    layers = chain([torch.ones(2, 4, 1, 1), torch.ones(6, 2, 3, 1)], nn.Conv2d(4, 6, (3, 1), stride=2))
    assert [layer.stride for layer in layers] == [(1, 2), (2, 1)]


def test_layers_are_plain_torch_layers_in_the_mode_of_the_old_one() -> None:
    layers = chain([torch.ones(2, 4), torch.ones(6, 2)], nn.Linear(4, 6).eval())
    assert type(layers) is nn.Sequential
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Linear]
    assert not any(module.training for module in layers.modules())


def test_frozen_weights_stay_frozen() -> None:
    layers = chain([torch.ones(2, 4), torch.ones(6, 2)], nn.Linear(4, 6).requires_grad_(False))
    assert not any(parameter.requires_grad for parameter in layers.parameters())


@pytest.mark.parametrize("sides", [((1, 1), (1, 1)), ((3, 1), (3, 5)), ((3, 5), (1, 5))])
def test_factors_that_do_not_make_up_the_kernel_are_an_error(sides: tuple[tuple[int, int], ...]) -> None:
    factors = [torch.ones(2, 4, *sides[0]), torch.ones(6, 2, *sides[1])]
    with pytest.raises(ValueError, match="wanted one factor with that side and 1 in all others"):
        chain(factors, nn.Conv2d(4, 6, (3, 5)))


def test_what_is_no_plain_layer_is_refused() -> None:
    attention = nn.MultiheadAttention(4, 1)
    assert refuses(nn.Conv2d(3, 4, 3)) is None
    assert refuses(nn.Linear(3, 4)) is None
    assert refuses(nn.Conv1d(3, 4, 3)) is None
    assert refuses(nn.Conv3d(4, 4, 3, groups=2)) is None
    assert refuses(nn.Conv2d(4, 8, 3, groups=4)) == (
        "it is a depthwise convolution of 4 channels, which has no channels to mix"
    )
    assert plain.refuses(nn.Conv2d(4, 4, 3, groups=2), grouped=False) == (
        "it is a convolution of 2 groups, wanted one group"
    )
    assert "NonDynamicallyQuantizableLinear" in str(refuses(attention.out_proj))
