"""Each check of exports passes a sound method and catches a layer that breaks what it is for."""

import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tnbench.methods import magnitude, svd, tnet
from tnbench.testing import method_exports as kit
from tnbench.testing.methods import LAYERS, sample_layer


class Wrapped(nn.Module):
    """The layers of svd, run by `forward` in a way of its own."""

    def __init__(self, chain: nn.Sequential) -> None:
        super().__init__()
        self.first, self.second = cast(tuple[nn.Conv2d, nn.Conv2d], tuple(chain))
        self.train(chain.training)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out

    def to_sequential(self) -> nn.Sequential:
        return nn.Sequential(copy.deepcopy(self.first), copy.deepcopy(self.second)).train(self.training)


class Breaking(Wrapped):
    """Looks at values, which no graph can."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.detach().flatten()[0]) < 1e9 else x


class Captured(Wrapped):
    """Computes something else in captured graphs."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if torch.compiler.is_compiling() else 1)


class OfTwo(Wrapped):
    """Has the number of pictures written into it."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out.reshape(2, *out.shape[1:])


class Gradientless(Wrapped):
    """Trains only its second layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).detach())  # type: ignore[no-any-return]


class Contiguous(Wrapped):
    """Gives on what is in the default memory format."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).contiguous()


class Strided(Wrapped):
    """Takes pictures to be in the default memory format."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.as_strided(x, x.shape, torch.empty(x.shape).stride()))


class Wide(Wrapped):
    """Answers in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class Noisy(Wrapped):
    """Loses half of its digits in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 10 * torch.finfo(x.dtype).eps)


class Remembering(Wrapped):
    """Keeps its first weight in a place that deep copies share."""

    def __init__(self, chain: nn.Sequential) -> None:
        super().__init__(chain)
        self.kept = _Shared(self.first.weight)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first
        return self.second(functional.conv2d(x, self.kept.weight, None, first.stride, first.padding))  # type: ignore[no-any-return]


class _Shared:
    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __deepcopy__(self, memo: Any) -> "_Shared":
        return self


class Uncopyable(Wrapped):
    """Keeps a tensor of the backward pass, which deepcopy refuses."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class OtherPlain(Wrapped):
    def to_sequential(self) -> nn.Sequential:
        return nn.Sequential(copy.deepcopy(self.first), nn.ReLU(), copy.deepcopy(self.second)).eval()


class WrongPlain(Wrapped):
    def to_sequential(self) -> nn.Sequential:
        plain = super().to_sequential()
        nn.init.zeros_(cast(Tensor, plain[1].bias))
        return plain


class NoSequential(Wrapped):
    def to_sequential(self) -> nn.Sequential:
        return cast(nn.Sequential, copy.deepcopy(self.first))


class SharedPlain(Wrapped):
    def to_sequential(self) -> nn.Sequential:
        return nn.Sequential(self.first, self.second).eval()


class TrainingPlain(Wrapped):
    def to_sequential(self) -> nn.Sequential:
        return super().to_sequential().train()


def _with(module: Any) -> Any:
    names = {name: getattr(svd, name) for name in dir(svd) if not name.startswith("__")}
    return SimpleNamespace(**names | {"layer": lambda factors, like: module(svd.layer(factors, like))})


def _layer() -> nn.Module:
    return sample_layer(LAYERS["3x3"])


@pytest.mark.parametrize("check", kit.EXPORTS)
def test_a_sound_layer_passes(check: kit.Check) -> None:
    check(_with(Wrapped), svd.Options(), _layer())


@pytest.mark.parametrize(
    ("check", "module", "message"),
    [
        (kit.check_compile, Breaking, "torch.compile: wanted one graph, got UserError: Consider"),
        (kit.check_compile, Captured, "torch.compile: got an output .* away from the layer's own"),
        (kit.check_compile, Gradientless, "torch.compile: got no gradient for first.weight"),
        (kit.check_export, Captured, "torch.export, 2 pictures: got an output"),
        (kit.check_export, Breaking, "torch.export: got "),
        (kit.check_export, OfTwo, "torch.export: got "),
        (kit.check_channels_last, Contiguous, r"channels-last memory: got an output \(2, 8, 9, 10\) with strides"),
        (kit.check_channels_last, Strided, "channels-last memory: got an output .* away"),
        (kit.check_bf16, Wide, "bfloat16: got an output of torch.float32"),
        (kit.check_bf16, Noisy, "away from the same layer in float32"),
        (kit.check_deepcopy, Remembering, "a deep copy, once the layer it is of has changed: got an output"),
        (kit.check_deepcopy, Uncopyable, "a deep copy: got RuntimeError"),
        (kit.check_sequential, OtherPlain, "to_sequential: got ReLU, wanted plain torch layers only"),
        (kit.check_sequential, WrongPlain, "to_sequential, once .* got an output"),
        (kit.check_sequential, NoSequential, "to_sequential: got a Conv2d, wanted a Sequential"),
        (kit.check_sequential, SharedPlain, "to_sequential, once the layer it is of has changed: got an output"),
        (kit.check_sequential, TrainingPlain, "to_sequential: got training mode"),
    ],
)
def test_a_broken_layer_is_caught(check: kit.Check, module: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(_with(module), svd.Options(), _layer())


def test_factors_of_another_dtype_are_caught() -> None:
    method = _with(Wrapped)
    method.factorise = lambda weight, *args, **given: svd.factorise(weight.float(), *args, **given)
    with pytest.raises(AssertionError, match=r"bfloat16: got parameters of torch.bfloat16, torch.float32"):
        kit.check_bf16(method, svd.Options(), _layer())


def test_groups_of_layers_are_checked_on_one_layer() -> None:
    kit.check_sequential(tnet, tnet.Options(), _layer())


@pytest.mark.parametrize("name", ["5, stride 2", "3x2x3", "linear"])
def test_layers_of_other_dimensions_are_checked_too(name: str) -> None:
    for check in (kit.check_channels_last, kit.check_bf16, kit.check_deepcopy, kit.check_sequential):
        check(cast(Any, magnitude), None, sample_layer(LAYERS[name]))


def test_onnx_runtime_catches_what_it_computes_otherwise() -> None:
    for package in kit.ONNX:
        pytest.importorskip(package)
    kit.check_onnx(_with(Wrapped), svd.Options(), _layer())
    with pytest.raises(AssertionError, match="ONNX Runtime, 2 pictures: got an output"):
        kit.check_onnx(_with(Captured), svd.Options(), _layer())
