"""Channels that do nothing can go without a trace; those that meet others stay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tnbench.core.errors import NotApplicable
from tnbench.engine.channels import Group, Place, channel_groups, keep_channels


def producers(model: nn.Module) -> list[str]:
    return [group.producer for group in channel_groups(model)]


def shaken(model: nn.Module) -> nn.Module:
    """In float64 and eval mode, with statistics and biases that are not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    model.double().eval()
    for key, tensor in model.state_dict().items():
        if key.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.1, generator=generator)
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
    return model


def silenced(model: nn.Module, group: Group, keep: torch.Tensor) -> None:
    """Make the channels outside `keep` zero wherever they are, in place. Activations leave zero where it is."""
    gone = torch.ones(group.channels, dtype=torch.bool)
    gone[keep] = False
    for place in (Place(group.producer), *group.carriers):
        layer = model.get_submodule(place.name)
        for name in ("bias", "running_mean") if place in group.carriers else ("weight", "bias"):
            tensor = getattr(layer, name, None)
            if tensor is not None:
                tensor.data[gone.repeat_interleave(place.block)] = 0


def drawn(groups: tuple[Group, ...], seed: int = 0) -> list[tuple[Group, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (group, torch.randperm(group.channels, generator=generator)[: max(1, group.channels * 2 // 3)].sort().values)
        for group in groups
    ]


def check_removal(model: nn.Module, pictures: torch.Tensor, seed: int = 0) -> None:
    """Removing silent channels leaves the function as it was."""
    kept = drawn(channel_groups(model), seed)
    for group, channels in kept:
        silenced(model, group, channels)
    narrow = keep_channels(model, kept)
    with torch.no_grad():
        assert torch.allclose(narrow(pictures), model(pictures), rtol=0, atol=1e-12)
    before, after = (sum(parameter.numel() for parameter in network.parameters()) for network in (model, narrow))
    assert after < before
    narrow.train()(torch.cat([pictures, pictures])).sum().backward()


@pytest.mark.parametrize(
    ("name", "groups"), [("resnet18", 8), ("squeezenet1_1", 9), ("mobilenet_v2", 20), ("shufflenet_v2_x0_5", 18)]
)
def test_silent_channels_of_well_known_networks_go_without_a_trace(name: str, groups: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = shaken(getattr(torchvision.models, name)(num_classes=10))
        pictures = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert len(channel_groups(model)) == groups
    check_removal(model, pictures)


def test_behind_a_flattening_each_channel_has_a_block() -> None:
    with torch.device("meta"):
        alexnet, vgg = torchvision.models.alexnet(), torchvision.models.vgg11_bn(init_weights=False)
    by_producer = {group.producer: group for group in channel_groups(alexnet)}
    assert len(by_producer) == 7
    assert by_producer["features.10"] == Group("features.10", 256, (), (Place("classifier.1", 36),))
    assert by_producer["classifier.1"] == Group("classifier.1", 4096, (), (Place("classifier.4", 1),))
    groups = channel_groups(vgg)
    assert len(groups) == 10
    assert groups[7] == Group("features.25", 512, (Place("features.26"),), (Place("classifier.0", 49),))


ACTIVATIONS: list[Callable[[], nn.Module]] = [nn.ReLU, nn.GELU, nn.Hardswish, nn.Tanh, nn.Identity]


@st.composite
def chains(draw: st.DrawFn) -> nn.Sequential:
    """Convolutions with or without BatchNorm, depthwise ones and pooling, then linear layers, with or without it."""
    parts: list[nn.Module] = []
    channels, side = 2, 8
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(2, 5))
        parts.append(nn.Conv2d(channels, out, 3, padding=1, bias=draw(st.booleans())))
        parts.extend([nn.BatchNorm2d(out, affine=draw(st.booleans()))] * draw(st.integers(0, 1)))
        parts.append(draw(st.sampled_from(ACTIVATIONS))())
        parts.extend([nn.Conv2d(out, out, 3, padding=1, groups=out)] * draw(st.integers(0, 1)))
        if side > 2 and draw(st.booleans()):
            parts.append(draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))(2))
            side //= 2
        channels = out
    parts.append(nn.Flatten())
    entries = channels * side**2
    for _ in range(draw(st.integers(0, 2))):
        parts.extend([nn.BatchNorm1d(entries)] * draw(st.integers(0, 1)))
        out = draw(st.integers(2, 6))
        parts.extend([nn.Linear(entries, out), draw(st.sampled_from(ACTIVATIONS))(), nn.Dropout(0.5)])
        entries = out
    return nn.Sequential(*parts, nn.Linear(entries, 3))


@given(chains(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_silent_channels_of_any_chain_go_without_a_trace(model: nn.Sequential, seed: int) -> None:
    check_removal(shaken(model), torch.randn(2, 2, 8, 8, dtype=torch.float64), seed)


class Net(nn.Module):
    """Three convolutions and a linear layer; what happens between them is given."""

    def __init__(self, between: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.last = nn.Linear(4 * 9, 2)
        self.between = between

    def forward(self, x: torch.Tensor) -> Any:
        return self.between(self, x)


def _last(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.last(x.flatten(1))


FREE: dict[str, Callable[[Any, Any], Any]] = {
    "functions": lambda net, x: _last(net, net.second(functional.dropout(functional.relu(net.first(x)), 0.1))),
    "methods": lambda net, x: _last(net, net.second(net.first(x).relu_().contiguous())),
    "two consumers": lambda net, x: _last(net, net.second(y := net.first(x).relu()) + net.third(y)),
    "a mean that keeps its axes": lambda net, x: net.second(net.first(x).mean((-1, 2), keepdim=True)),
    "a view": lambda net, x: net.last((y := net.first(x)).view(y.size(0), -1)),
    "a reshape": lambda net, x: net.last((y := net.first(x)).reshape((y.shape[0], -1))),
    "torch's flatten": lambda net, x: net.last(torch.flatten(net.first(x), start_dim=1)),
}
STUCK: dict[str, Callable[[Any, Any], Any]] = {
    "the output": lambda net, x: net.first(x),
    "a sum": lambda net, x: net.second(net.first(x) + x),
    "a join": lambda net, x: net.second(torch.cat([net.first(x), x[:, :0]], 1)),
    "a pad": lambda net, x: net.second(functional.pad(net.first(x), (0, 0, 0, 0, 0, 0))),
    "a product": lambda net, x: net.second(net.first(x) * x),
    "a softmax": lambda net, x: net.second(net.first(x).softmax(1)),
    "a mean over channels": lambda net, x: net.second(net.first(x).mean(1, keepdim=True).expand(-1, 4, -1, -1)),
    "a mean over some pixels": lambda net, x: net.first(x).mean(3),
    "a flattening of pixels alone": lambda net, x: net.first(x).flatten(2).mean(2),
    "a view of a literal size": lambda net, x: net.last(net.first(x).view(-1, 36)),
    "its number of channels": lambda net, x: net.second((y := net.first(x)) / y.size(1)),
    "itself once more": lambda net, x: net.second(net.first(net.first(x))),
    "a second reader of its weight": lambda net, x: net.second(net.first(x)) * net.first.weight.sum(),
    "an index": lambda net, x: net.second(net.first(x)[:, [3, 2, 1, 0]]),
    "nobody": lambda net, x: (net.first(x), net.second(x))[1],
}


@pytest.mark.parametrize("between", [pytest.param(net, id=name) for name, net in FREE.items()])
def test_channels_that_reach_only_layers_can_go(between: Callable[[Any, Any], Any]) -> None:
    assert "first" in producers(Net(between))


@pytest.mark.parametrize("between", [pytest.param(net, id=name) for name, net in STUCK.items()])
def test_channels_that_reach_anything_else_stay(between: Callable[[Any, Any], Any]) -> None:
    assert "first" not in producers(Net(between))


def test_a_linear_layer_over_rows_of_pixels_consumes_no_channels() -> None:
    assert producers(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(4, 2))) == []


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_convolutions_neither_lose_nor_consume_channels(groups: int) -> None:
    wide = nn.Conv2d(4, 8, 1, groups=groups)
    assert producers(nn.Sequential(nn.Conv2d(2, 4, 1), wide, nn.Conv2d(8, 2, 1))) == []


def test_tied_and_hooked_layers_are_left_alone() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert producers(tied) == []
    hooked = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    hooked[0].register_forward_hook(lambda layer, inputs, out: None)
    assert producers(hooked) == []


def test_a_branch_of_training_alone_counts() -> None:
    class Auxiliary(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            y = self[0](x)
            return (self[1](y), y) if self.training else self[1](y)

    model = Auxiliary(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    assert producers(model) == []
    assert not model.training


def test_frozen_weights_stay_frozen() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).requires_grad_(False)
    narrow = keep_channels(model, drawn(channel_groups(model)))
    assert not any(parameter.requires_grad for parameter in narrow.parameters())


def test_a_network_that_torch_cannot_trace_is_named() -> None:
    class Looping(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum(super(Looping, self).forward(row) for row in x)  # type: ignore[return-value]

    with pytest.raises(NotApplicable, match=r"torch\.fx cannot trace Looping \(TraceError: .*\), so it is unknown"):
        channel_groups(Looping(2, 2))
