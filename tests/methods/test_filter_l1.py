"""The weakest filters go, with all that depends on them and nothing else."""

import copy

import pytest
import torch
from torch import nn

from tnbench.core.errors import NotApplicable
from tnbench.methods import filter_l1
from tnbench.models import cnn8, lenet5, resnet

MODELS = {
    "cnn8": (cnn8, (1, 8, 8)),
    "lenet5": (lenet5, (1, 28, 28)),
    "resnet8": (resnet, (3, 32, 32)),
}


def built(name: str) -> tuple[nn.Module, torch.Tensor]:
    plugin, in_shape = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = plugin.build(name, None, in_shape, 10).double().eval()
        return model, torch.randn(3, *in_shape, dtype=torch.float64)


def narrowed(model: nn.Module, width: int) -> nn.Module:
    return filter_l1.narrowed(model, width, seed=0, options=None, rebuild=None)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_filters_of_largest_norm_stay_in_their_order() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    norms = torch.tensor([3.0, 1.0, 2.0, 4.0])
    model[0].weight.data.copy_((norms / 18)[:, None, None, None] * torch.ones(2, 3, 3))
    model[0].bias.data.copy_(torch.tensor([0.0, 100.0, 0.0, 0.0]))
    narrow = narrowed(model, filter_l1.widths(model) * 3 // 4)
    assert torch.equal(narrow[0].weight, model[0].weight[[0, 2, 3]])
    assert torch.equal(narrow[0].bias, model[0].bias[[0, 2, 3]])
    assert torch.equal(narrow[2].weight, model[2].weight[:, [0, 2, 3]])
    assert torch.equal(narrow[2].bias, model[2].bias)
    assert (narrow[0].out_channels, narrow[2].in_channels, narrow[2].out_channels) == (3, 3, 3)


def test_of_equal_filters_the_first_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    nn.init.ones_(model[0].weight)
    model[0].bias.data.copy_(torch.arange(4.0))
    assert narrowed(model, 128)[0].bias.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", MODELS)
def test_filters_that_do_nothing_go_without_a_trace(name: str) -> None:
    model, pictures = built(name)
    pairs = {
        "cnn8": [(f"conv{i}", f"bn{i}") for i in (1, 2, 3, 4)],
        "lenet5": [("conv1", ""), ("conv2", ""), ("fc1", "")],
    }
    for layer, norm in pairs.get(name, [(f"layer{i}.0.conv1", f"layer{i}.0.bn1") for i in (1, 2, 3)]):
        parts = [model.get_submodule(part) for part in (layer, norm) if part]
        for part in parts:
            for tensor in part.state_dict().values():
                if tensor.dim():
                    tensor[::2] = 0
    before = copy.deepcopy(model.state_dict())
    narrow = narrowed(model, 128)
    assert torch.allclose(narrow(pictures), model(pictures), rtol=0, atol=1e-12)
    assert count(narrow) < count(model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_the_full_width_is_a_copy_and_the_least_is_one_filter(name: str) -> None:
    model, pictures = built(name)
    assert filter_l1.refuses_network(model) is None
    full = narrowed(model, filter_l1.widths(model))
    assert torch.equal(full(pictures), model(pictures))
    assert not {id(tensor) for tensor in full.parameters()} & {id(tensor) for tensor in model.parameters()}
    counts = [count(narrowed(model, width)) for width in (1, 32, 64, 128, 192, 256)]
    assert counts == sorted(set(counts))
    assert narrowed(model, 1)(pictures).shape == (3, 10)


def test_the_trunk_of_a_residual_network_stays() -> None:
    model, _ = built("resnet8")
    narrow = narrowed(model, 64)
    shapes = {key: tuple(tensor.shape) for key, tensor in narrow.state_dict().items()}
    assert shapes["conv1.weight"] == (16, 3, 3, 3)
    assert shapes["layer2.0.conv1.weight"] == (8, 16, 3, 3)
    assert shapes["layer2.0.bn1.running_var"] == (8,)
    assert shapes["layer2.0.conv2.weight"] == (32, 8, 3, 3)
    assert shapes["linear.weight"] == (10, 64)


def test_a_flattened_channel_takes_all_its_pixels_with_it() -> None:
    narrow = narrowed(built("lenet5")[0], 128)
    assert [tuple(parameter.shape) for parameter in narrow.parameters() if parameter.dim() > 1] == [
        (10, 1, 5, 5),
        (25, 10, 5, 5),
        (250, 400),
        (10, 250),
    ]


def test_what_is_left_trains() -> None:
    narrow = narrowed(built("cnn8")[0], 64).train()
    narrow(torch.randn(4, 1, 8, 8, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in narrow.parameters())


def test_a_network_that_cannot_be_traced_is_refused_with_the_reason() -> None:
    class Moody(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum() > 0 else x

    model = Moody(nn.Linear(2, 2), nn.Linear(2, 2))
    assert "torch.fx cannot trace Moody (TraceError: " in str(filter_l1.refuses_network(model))
    with pytest.raises(NotApplicable, match="unknown which channels depend on one another"):
        narrowed(model, 1)


def test_a_network_without_channels_to_spare_is_refused() -> None:
    assert "none of its layers makes channels" in str(filter_l1.refuses_network(nn.Sequential(nn.Linear(2, 2))))
