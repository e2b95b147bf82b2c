"""Residual networks: sizes of the paper, names of the published checkpoints, shortcuts without parameters."""

import re

import pytest
import torch

from tnbench.core.errors import NotApplicable
from tnbench.models.resnet import NAMES, Block, build, keep_dense, narrower

COLOUR = (3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_as_many_parameters_as_the_summary_says(name):
    count = sum(parameter.numel() for parameter in build(name, None, COLOUR, 10).parameters())
    assert f"{count:,} parameters" in NAMES[name]


@pytest.mark.parametrize("name", NAMES)
def test_as_many_layers_as_the_name_says(name):
    names = [key for key in build(name, None, COLOUR, 10).state_dict() if re.search(r"(conv.|linear)\.weight", key)]
    assert len(names) == int(name.removeprefix("resnet"))


def test_names_are_those_of_published_checkpoints():
    names = set(build("resnet20", None, COLOUR, 10).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "linear.bias"} <= names
    assert not {name for name in names if "shortcut" in name or "downsample" in name}


@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet32-d509ac18"])
def test_published_checkpoints_fit(name, checkpoints):
    file = next(checkpoints.rglob(f"{name}.th"))
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    model = build(name.partition("-")[0], None, COLOUR, 10)
    model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    assert torch.equal(model.linear.bias, state["module.linear.bias"])


def test_a_shortcut_takes_every_second_pixel_and_adds_black_channels_on_both_sides():
    x = torch.arange(2 * 5 * 5.0).view(1, 2, 5, 5)
    y = Block(2, 4, stride=2).shortcut(x)
    assert y.shape == (1, 4, 3, 3)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert y[:, [0, 3]].abs().sum() == 0


def test_a_shortcut_of_stride_one_is_the_identity():
    x = torch.randn(2, 4, 5, 5)
    assert Block(4, 4, stride=1).shortcut(x) is x


@pytest.mark.parametrize("side", [8, 9, 15, 28])
def test_any_side_from_eight_on(side):
    assert build("resnet8", None, (1, side, side), 7)(torch.zeros(2, 1, side, side)).shape == (2, 7)


def test_smaller_sides_are_refused():
    with pytest.raises(NotApplicable, match=r"resnet8 halves pictures twice .* at least 8 pixels, got 4x32"):
        build("resnet8", None, (3, 4, 32), 10)


@pytest.mark.parametrize(
    ("width", "channels"), [(1.0, (16, 32, 64)), (0.5, (8, 16, 32)), (0.3, (5, 10, 19)), (0.01, (1, 1, 1))]
)
def test_a_narrower_one_has_a_share_of_the_channels_in_trunk_and_blocks(width, channels):
    model = narrower("resnet8", None, COLOUR, 10, width)
    assert [model.conv1.out_channels, model.layer2[0].conv1.out_channels, model.linear.in_features] == list(channels)
    assert [block[0].conv2.out_channels for block in (model.layer1, model.layer2, model.layer3)] == list(channels)
    assert model(torch.zeros(2, *COLOUR)).shape == (2, 10)


def test_first_and_last_stay_dense():
    assert tuple(keep_dense(build("resnet8", None, COLOUR, 10))) == ("conv1", "linear")
