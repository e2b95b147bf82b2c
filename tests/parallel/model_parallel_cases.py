"""Small networks of random factors, and how far a sharded copy of one is from the whole one, in float64."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.core.protocols import Augmentation, Crew, Normalisation, Recipe
from tnbench.distributed.collectives import Call, counting
from tnbench.engine.loop import fit, whole_state
from tnbench.layers.chain import chain

KINDS = ("svd", "svd_spatial", "cp", "cp3", "tucker2", "tt", "tkd_cpd")


def factor_shapes(kind: str, O: int, I: int, kH: int, kW: int, R: int) -> list[tuple[int, ...]]:
    """Of the factors that method `kind` gives; its second and third ranks are R + 1 and R + 2."""
    S, T = R + 1, R + 2
    return {
        "svd": [(R, I, kH, kW), (O, R, 1, 1)],
        "svd_spatial": [(R, I, kH, 1), (O, R, 1, kW)],
        "cp": [(R, I, 1, 1), (R, 1, kH, 1), (R, 1, 1, kW), (O, R, 1, 1)],
        "cp3": [(R, I, 1, 1), (R, 1, kH, kW), (O, R, 1, 1)],
        "tucker2": [(R, I, 1, 1), (S, R, kH, kW), (O, S, 1, 1)],
        "tt": [(R, I, 1, 1), (S, R, kH, 1), (T, S, 1, kW), (O, T, 1, 1)],
        "tkd_cpd": [(R, I, 1, 1), (S, R, 1, 1), (S, 1, kH, kW), (T, S, 1, 1), (O, T, 1, 1)],
    }[kind]


def factorised(kind: str, like: nn.Conv2d, R: int) -> nn.Sequential:
    """A chain of random factors in place of `like`."""
    shapes = factor_shapes(kind, like.out_channels, like.in_channels, *like.kernel_size, R)
    drawn = torch.Generator().manual_seed(len(shapes))
    factors = [
        torch.randn(shape, generator=drawn, dtype=torch.float64) / math.prod(shape[1:]) ** 0.5 for shape in shapes
    ]
    return chain(factors, like)


def factorise_all(model: nn.Module, kind: str, R: int) -> nn.Module:
    """All convolutions with a 3x3 kernel but the first, in place; a linear layer stays dense."""
    convolutions = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    for name, layer in convolutions[1:]:
        if layer.kernel_size == (3, 3):
            model.set_submodule(name, factorised(kind, layer, R))
    return model


class Small(nn.Module):
    """Odd widths, a stride, a residual sum, pooling, BatchNorm, a bias, and zeros padded in for new channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 7, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(7)
        self.conv2 = nn.Conv2d(7, 7, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(7)
        self.conv3 = nn.Conv2d(7, 10, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(10)
        self.conv4 = nn.Conv2d(10, 10, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(x + self.bn2(self.conv2(x)))
        y = functional.relu(self.bn3(self.conv3(x)))
        y = y + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))
        y = self.pool(torch.tanh(self.conv4(y)))
        scores: Tensor = self.linear(y.mean((2, 3)))
        return scores


def small(kind: str, R: int = 5) -> nn.Module:
    torch.manual_seed(1)
    return factorise_all(Small(), kind, R).double()


def pictures(n: int = 6, channels: int = 3, side: int = 12) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class Compared(NamedTuple):
    """Largest differences from the whole network, relative to its largest value, and what was exchanged."""

    scores: float
    eval_scores: float
    gradients: float
    state: float
    own_parameters: int
    all_parameters: int
    forward: list[Call]
    backward: list[Call]
    notes: list[str]


def compared(crew: Crew, model: nn.Module, x: Tensor) -> Compared:
    """One pass forward and backward of a sharded copy of `model`, and its scores in eval mode afterwards."""
    whole, weights = copy.deepcopy(model), torch.linspace(0.5, 2, len(x), dtype=x.dtype)
    own = copy.deepcopy(model)
    called = crew.wrap(own)
    (functional.log_softmax(whole(x), 1)[:, 0] * weights).sum().backward()
    with counting() as forward:
        scores = called(x)
    loss = (functional.log_softmax(scores, 1)[:, 0] * weights).sum()
    with counting() as backward:
        loss.backward()
    state = whole_state(own, crew)
    again = copy.deepcopy(model)
    again.train()
    train_scores = again(x)
    gradients = _gathered_gradients(own, crew)
    wanted = {name: parameter.grad for name, parameter in whole.named_parameters()}
    assert gradients.keys() == wanted.keys(), gradients.keys() ^ wanted.keys()
    own.eval(), again.eval()
    with torch.no_grad():
        eval_scores = called(x)
    return Compared(
        _distance(scores, train_scores),
        _distance(eval_scores, again(x)),
        max(_distance(gradients[name], wanted[name]) for name in wanted),
        max(_distance(state[name], value) for name, value in again.state_dict().items()),
        sum(parameter.numel() for parameter in own.parameters()),
        sum(parameter.numel() for parameter in model.parameters()),
        forward.calls,
        backward.calls,
        list(crew.notes),
    )


def _gathered_gradients(own: nn.Module, crew: Crew) -> dict[str, Tensor]:
    """Gathered as weights are: with each parameter's gradient in its place."""
    with torch.no_grad():
        before = [parameter.clone() for parameter in own.parameters()]
        for parameter in own.parameters():
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)
        state = whole_state(own, crew)
        for parameter, value in zip(own.parameters(), before, strict=True):
            parameter.copy_(value)
    return {name: state[name] for name, _ in own.named_parameters()}


def _distance(got: Tensor, wanted: Tensor | None) -> float:
    assert wanted is not None
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    return ((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)).item()


RECIPE = Recipe(epochs=2, lr=0.05, batch_size=8, momentum=0.9, weight_decay=1e-3, ema=0.9, seed=3)


def trained(crew: Crew, model: nn.Module) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and the whole state after a few steps of SGD with a running average of weights; alone, or by ranks."""
    drawn = torch.Generator().manual_seed(2)
    run = fit(
        model,
        torch.randint(0, 256, (22, 3, 12, 12), generator=drawn, dtype=torch.uint8),
        torch.randint(0, 5, (22,), generator=drawn),
        normalisation=Normalisation((0.5, 0.4, 0.5), (0.2, 0.3, 0.2)),
        augmentation=Augmentation(crop=1, flip=True),
        recipe=RECIPE,
        crew=crew,
        dtype=torch.float64,
    )
    return run.loss, run.state


def farthest(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest relative difference of two states."""
    assert got.keys() == wanted.keys()
    return max(_distance(got[name].double(), value.double()) for name, value in wanted.items())
