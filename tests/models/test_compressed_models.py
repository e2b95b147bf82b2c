"""tnbench.compress takes every architecture: the layers that it should, and as many parameters as it says."""

import pytest
import torch

import tnbench
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.measure.counts import count_params

REGISTRY = Registry()


@pytest.mark.parametrize(
    ("model", "in_shape", "width"),
    [
        ("lenet5_1998", (1, 28, 28), 1.0),
        ("mobilenetv2", (3, 8, 8), 1.0),
        ("resnet18", (3, 8, 8), 0.25),
        ("resnet20_wide_stem", (3, 16, 16), 1.0),
        ("resnet9", (3, 8, 8), 0.25),
        ("vgg16_bn", (3, 32, 32), 0.25),
    ],
)
def test_tucker2_at_x4_leaves_about_a_quarter_of_each_layer(model, in_shape, width):
    bound = REGISTRY.bind("model", parse_part("model", model)[0])
    network = bound.module.narrower(model, bound.options, in_shape, 10, width)
    compressed, summary = tnbench.compress(network, "tucker2", "x4")
    ratios = {layer.name: layer.params / layer.params_dense for layer in summary.layers if layer.compressed}
    assert ratios
    assert all(ratio < 0.27 for ratio in ratios.values()), ratios
    assert not ratios.keys() & set(bound.module.keep_dense(network))
    assert count_params(compressed) == summary.network < count_params(network)
    assert compressed.eval()(torch.zeros(2, *in_shape)).shape == (2, 10)


def test_depthwise_convolutions_of_mobilenet_stay_dense():
    network = REGISTRY.bind("model", parse_part("model", "mobilenetv2")[0]).module.build(
        "mobilenetv2", None, (3, 8, 8), 10
    )
    _, summary = tnbench.compress(network, "svd", "k2")
    depthwise = [layer for layer in summary.layers if layer.name.endswith(".conv2")]
    assert len(depthwise) == 17
    assert all(not layer.compressed and "depthwise" in layer.note for layer in depthwise)
