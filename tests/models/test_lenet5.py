"""LeNet-5 is Caffe's."""

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.models.lenet5 import build, keep_dense, narrower


def test_its_weights_and_biases_are_caffes():
    parameters = dict(build("lenet5", None, (1, 28, 28), 10).named_parameters())
    assert sum(value.numel() for name, value in parameters.items() if name.endswith("weight")) == 430_500
    assert sum(value.numel() for name, value in parameters.items() if name.endswith("bias")) == 580


def test_a_narrower_one_has_a_share_of_the_channels():
    shapes = [tuple(p.shape) for p in narrower("lenet5", None, (1, 28, 28), 10, 0.5).parameters() if p.dim() > 1]
    assert shapes == [(10, 1, 5, 5), (25, 10, 5, 5), (250, 400), (10, 250)]


def test_first_and_last_stay_dense():
    assert tuple(keep_dense(build("lenet5", None, (1, 28, 28), 10))) == ("conv1", "fc2")


def test_the_only_relu_is_between_the_linear_layers():
    model = build("lenet5", None, (1, 28, 28), 10)
    with torch.no_grad():
        for layer in (model.conv1, model.conv2, model.fc1):
            nn.init.constant_(layer.weight, -1e-3 if layer is model.conv1 else 1e-3)
        scores = model(torch.ones(1, 1, 28, 28))
    assert torch.equal(scores[0], model.fc2.bias), "a negative picture of the convolutions ends at the ReLU"


@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels(channels):
    assert build("lenet5", None, (channels, 28, 28), 10)(torch.zeros(2, channels, 28, 28)).shape == (2, 10)


def test_other_sides_are_refused():
    with pytest.raises(NotApplicable, match="lenet5 takes pictures of 28x28 pixels, got 32x32; mnist has them"):
        build("lenet5", None, (3, 32, 32), 10)
