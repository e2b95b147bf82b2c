"""The largest weights stay, the smallest go, and nothing becomes cheaper but the count."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tnbench.core.protocols import Pixels
from tnbench.methods import magnitude


def pruned(weight: torch.Tensor, kept: int) -> torch.Tensor:
    (factor,) = magnitude.factorise(weight, (kept,), seed=0, options=None)
    return factor


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 99), st.data())
@settings(max_examples=25, deadline=None)
def test_the_largest_stay_as_they_were_and_the_rest_is_zero(shape: list[int], seed: int, data: st.DataObject) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    kept = data.draw(st.integers(1, weight.numel()))
    factor = pruned(weight, kept)
    stays = factor != 0
    assert int(stays.sum()) == kept
    assert torch.equal(factor[stays], weight[stays])
    gone = weight[~stays].abs()
    assert not len(gone) or gone.max() <= weight[stays].abs().min()


def test_its_error_is_the_least_of_its_count() -> None:
    """||W - W~||² is the sum of the smallest squares: nothing with as many weights is nearer."""
    weight = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squares = weight.square().flatten().sort().values
    for kept in (1, 100, 432):
        error = float(torch.dist(pruned(weight, kept), weight))
        assert error == pytest.approx(math.sqrt(float(squares[: 432 - kept].sum())), abs=1e-12)


def test_weights_in_channels_last_are_pruned_alike() -> None:
    weight = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pruned(weight.to(memory_format=torch.channels_last), 50), pruned(weight, 50))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_are_kept(dtype: torch.dtype) -> None:
    assert pruned(torch.linspace(-1, 1, 24, dtype=dtype).view(4, 6), 7).dtype == dtype


def test_its_count_is_of_weights_that_are_not_zero_and_its_macs_are_the_dense_ones() -> None:
    assert magnitude.largest_ranks((8, 6, 3, 5)) == (720,)
    assert magnitude.count((8, 6, 3, 5), (100,)) == 100
    assert magnitude.macs((8, 6, 3, 5), (100,), Pixels(100, 50, 20)) == 720 * 20


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv3d(4, 6, 3),
        nn.Linear(4, 6),
    ],
    ids=["conv1d", "grouped", "depthwise", "conv3d", "linear"],
)
def test_every_plain_layer_is_served(layer: nn.Module) -> None:
    assert magnitude.refuses(layer) is None
    module = magnitude.layer((pruned(layer.weight.detach(), 10),), layer)
    assert sum(int((parameter != 0).sum()) for parameter in module.parameters() if parameter.dim() > 1) == 10
    assert layer.weight.count_nonzero() == layer.weight.numel()


def test_other_layers_are_refused() -> None:
    assert "it is a ConvTranspose2d" in str(magnitude.refuses(nn.ConvTranspose2d(4, 6, 3)))
