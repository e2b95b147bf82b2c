"""Second moments of what reaches a layer, against torch's own unfold."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.engine.calibration import RIDGE, Calibration, patch_stats, run_to


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def moment_of(patches: Tensor, pictures: int) -> Tensor:
    moment = patches.double().T @ patches.double() / pictures
    return moment + RIDGE * moment.diagonal().mean() * torch.eye(len(moment))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
        nn.Conv2d(4, 4, 3, groups=2),
    ],
)
def test_a_convolutions_patches_are_torchs_unfold(layer: nn.Conv2d) -> None:
    pictures = drawn(200, layer.in_channels, 6, 7)
    stats = patch_stats(nn.Sequential(layer), layer, Calibration(pictures, "d"))
    columns = functional.unfold(pictures, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    wanted = moment_of(columns.transpose(1, 2).flatten(0, 1), len(pictures))
    assert torch.allclose(stats.patches, wanted, rtol=1e-5, atol=1e-6)
    assert (stats.channels, stats.ridge, stats.digest) == (layer.in_channels, RIDGE, "d")


def test_other_padding_modes_and_dimensions_follow_the_layer() -> None:
    layer = nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular")
    inputs = drawn(50, 2, 5)
    rolled = torch.stack([inputs.roll(shift, 2) for shift in (1, 0, -1)], dim=2)  # (N, I, k, L)
    wanted = moment_of(rolled.permute(0, 3, 1, 2).reshape(-1, 6), 50)
    assert torch.allclose(patch_stats(nn.Sequential(layer), layer, Calibration(inputs, "")).patches, wanted, rtol=1e-5)
    solid = nn.Conv3d(2, 3, (1, 2, 3))
    assert patch_stats(nn.Sequential(solid), solid, Calibration(drawn(4, 2, 3, 3, 3), "")).patches.shape == (12, 12)


def test_the_moment_measures_the_error_of_outputs() -> None:
    layer, pictures = nn.Linear(6, 5, bias=False), drawn(300, 6)
    moment = patch_stats(nn.Sequential(layer), layer, Calibration(pictures, "")).patches
    change = drawn(5, 6).double()
    wanted = (pictures.double() @ change.T).square().sum() / 300
    assert torch.allclose((change @ moment @ change.T).trace(), wanted, rtol=1e-2)


def test_channel_moments_are_the_mean_over_offsets() -> None:
    layer, pictures = nn.Conv2d(3, 4, 1), drawn(100, 3, 4, 4)
    stats = patch_stats(nn.Sequential(layer), layer, Calibration(pictures, ""))
    assert torch.allclose(stats.channel_moment, stats.patches)
    wide = nn.Conv2d(3, 4, 3, padding=1)
    of_wide = patch_stats(nn.Sequential(wide), wide, Calibration(pictures, ""))
    assert of_wide.channel_moment.shape == (3, 3)
    assert torch.allclose(of_wide.channel_moment, of_wide.channel_moment.T)
    assert float(of_wide.channel_moment.trace()) == pytest.approx(float(of_wide.patches.trace()) / 9)


def test_only_what_is_before_the_layer_runs_and_modes_return() -> None:
    class Forbidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("behind the layer")

    first, layer = nn.Dropout(), nn.Linear(4, 4)
    model = nn.Sequential(first, layer, Forbidden()).train()
    seen: list[Tensor] = []
    assert run_to(model, layer, drawn(300, 4), seen.append) == 300
    assert torch.equal(torch.cat(seen), drawn(300, 4))  # no dropout in eval mode
    assert first.training
    assert not layer._forward_pre_hooks


def test_inputs_of_zeros_leave_a_moment_that_can_be_inverted() -> None:
    layer = nn.Linear(3, 2)
    stats = patch_stats(nn.Sequential(layer), layer, Calibration(torch.zeros(5, 3), ""))
    assert torch.linalg.eigvalsh(stats.patches).min() > 0
