"""Public checks of a method: what every decomposition of a layer's weight must hold, whoever wrote it.

>>> from tnbench.methods import svd
>>> check_method(svd, svd.Options())

Each check takes the method, its options and one layer, and raises AssertionError that says what was got and wanted.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Factors, Method, Ranks
from tnbench.engine.applied import Functions, OnLayer, with_options
from tnbench.layers.plain import dimensions
from tnbench.measure.counts import count_macs

Check = Callable[[Method, Any, nn.Module], None]

SIDES = {1: (11,), 2: (9, 10), 3: (6, 5, 7)}
"""Spatial sides of what convolutions are tried on, by their dimensions: unequal, and some odd."""

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "3x3": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "3x3 without bias": lambda: nn.Conv2d(6, 8, 3, bias=False),
    "3x3 stride (2,1)": lambda: nn.Conv2d(6, 8, 3, stride=(2, 1), padding=1),
    "3x3 dilation 2": lambda: nn.Conv2d(6, 8, 3, padding=2, dilation=2),
    "3x3 dilation (1,2), padding (0,2)": lambda: nn.Conv2d(6, 8, 3, padding=(0, 2), dilation=(1, 2)),
    "3x3 reflect": lambda: nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"),
    "3x3 replicate, stride (1,2)": lambda: nn.Conv2d(6, 8, 3, (1, 2), padding=(2, 1), padding_mode="replicate"),
    "3x3 circular": lambda: nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"),
    "3x5 same": lambda: nn.Conv2d(6, 8, (3, 5), padding="same"),
    "2x4 same, dilation (3,1)": lambda: nn.Conv2d(6, 8, (2, 4), padding="same", dilation=(3, 1)),
    "4x2 same circular": lambda: nn.Conv2d(6, 8, (4, 2), padding="same", padding_mode="circular"),
    "3x3 valid": lambda: nn.Conv2d(6, 8, 3, padding="valid"),
    "5x5": lambda: nn.Conv2d(4, 6, 5, padding=2),
    "5x5 from one channel": lambda: nn.Conv2d(1, 8, 5),
    "3x1 stride 2": lambda: nn.Conv2d(6, 8, (3, 1), stride=2),
    "5, stride 2": lambda: nn.Conv1d(6, 8, 5, stride=2, padding=2),
    "3x2x3": lambda: nn.Conv3d(4, 6, (3, 2, 3), padding=(1, 0, 1), stride=(1, 2, 1)),
    "3x3 to one channel": lambda: nn.Conv2d(6, 1, 3, padding=1),
    "1x1": lambda: nn.Conv2d(6, 8, 1),
    "1x1 stride 2, padding 1": lambda: nn.Conv2d(6, 8, 1, stride=2, padding=1),
    "linear": lambda: nn.Linear(12, 9),
    "linear without bias": lambda: nn.Linear(7, 12, bias=False),
}
"""One builder for each kind of layer that a method must either serve or refuse with a reason."""

REFUSABLE: dict[str, Callable[[], nn.Module]] = {
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2, padding=1),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
}
"""Layers that most methods refuse; one that does not must get them right."""


def check_method(method: Method, options: Any = None) -> None:
    """Run every check on the layers that the method serves. Raises AssertionError naming check and layer."""
    check_refusals(method, options)
    with warnings.catch_warnings():
        # torch says so of every even kernel, dense or factorised.
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
        for check, name, layer in each_check(method, options):
            try:
                check(method, options, layer)
            except Exception as error:
                kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                raise AssertionError(f"{check.__name__}, layer {name}: {kind}{error}") from error


def each_check(method: Method, options: Any = None) -> Iterator[tuple[Check, str, nn.Module]]:
    """Every check with each layer that it is for and that `method` serves, freshly drawn from one seed."""
    for name, build in (LAYERS | REFUSABLE).items():
        for check in GEOMETRY + (ALGEBRA if name in _ALGEBRA_LAYERS else ()):
            layer = sample_layer(build)
            if with_options(method.refuses, options)(layer) is None:
                yield check, name, layer


def sample_layer(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A layer with weights drawn from `seed`, whatever the global generator's state, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def check_refusals(method: Method, options: Any = None) -> None:
    """`refuses` gives None or a reason to read, and there is some layer that the method serves."""
    refuses = with_options(method.refuses, options)
    answers = {name: refuses(sample_layer(build)) for name, build in (LAYERS | REFUSABLE).items()}
    for name, answer in answers.items():
        _require(
            answer is None or (isinstance(answer, str) and answer.strip() != ""),
            f"refuses: got {answer!r} for the layer {name}, wanted None or a sentence",
        )
    _require(None in answers.values(), f"refuses: got a refusal for every layer, such as {answers['3x3']!r}")


def check_count(method: Method, options: Any, layer: nn.Module) -> None:
    """`count` is the number of weights in the factors and in the layer, bias apart."""
    target = at(method, options, layer)
    for ranks in sample_ranks(target):
        factors = target.factorise(ranks, seed=0)
        counted = target.count(ranks)
        sparse = bool(getattr(method, "SPARSE", False))
        held = sum(int(factor.count_nonzero()) if sparse else factor.numel() for factor in factors)
        _require(counted == held, f"count at ranks {ranks}: got {counted}, the factors hold {held} weights")
        bias = layer.bias.numel() if isinstance(layer.bias, Tensor) else 0
        wanted = target.weight.numel() if sparse else counted
        held = sum(parameter.numel() for parameter in _module(target, factors).parameters()) - bias
        _require(wanted == held, f"count at ranks {ranks}: got {wanted}, the layer holds {held} weights")


def check_macs(method: Method, options: Any, layer: nn.Module) -> None:
    """`macs` is what the layer's modules add up to, and half of what torch's FlopCounterMode counts forward.

    Of a module that has a form of plain layers, the flops counted are that form's.
    """
    target, picture = at(method, options, layer), sample_input(layer)
    for ranks in sample_ranks(target):
        module = _module(target, target.factorise(ranks, seed=0))
        wanted = target.macs(ranks, {"": [(picture[:1].shape, torch.Size())]})
        counted = count_macs(module, tuple(picture.shape[1:]))
        _require(wanted == counted, f"macs at ranks {ranks}: got {wanted}, the modules do {counted}")
        plain = cast(Any, module).to_sequential() if hasattr(module, "to_sequential") else module
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            plain(picture[:1])
        seen = flops.get_total_flops() / 2
        _require(wanted == seen, f"macs at ranks {ranks}: got {wanted}, FlopCounterMode saw {seen:g}")


def check_output(method: Method, options: Any, layer: nn.Module) -> None:
    """The layer computes what `layer` would with the reconstructed weight, bias and all."""
    target, picture = at(method, options, layer.double()), sample_input(layer)
    for ranks in sample_ranks(target):
        factors = target.factorise(ranks, seed=0)
        got = _module(target, factors)(picture)
        wanted = _with_weight(layer, target.dense(factors))(picture)
        _require(got.shape == wanted.shape, f"output's shape: got {tuple(got.shape)}, wanted {tuple(wanted.shape)}")
        apart = float((got - wanted).detach().abs().max())
        _require(apart < 1e-9, f"output: got {apart:.2g} away from the layer with the weight dense(factors)")


def check_leading_dimensions(method: Method, options: Any, layer: nn.Module) -> None:
    """A linear layer takes inputs with any leading dimensions."""
    if isinstance(layer, nn.Linear):
        target = at(method, options, layer)
        got = _module(target, target.factorise(target.largest, seed=0))(torch.ones(2, 3, layer.in_features)).shape
        _require(got == (2, 3, layer.out_features), f"output's shape: got {tuple(got)} for an input (2, 3, in)")


def check_monotone(method: Method, options: Any, layer: nn.Module) -> None:
    """Uniformly larger ranks never raise the error by more than 1 %, each begun from the factors before."""
    target = at(method, options, layer)
    last, start = 1.0, None
    for ranks in sample_ranks(target):
        factors = target.factorise(ranks, seed=0, start=start)
        error = _error(target, factors)
        _require(
            error <= 1.01 * last + 1e-6, f"error at ranks {ranks}: got {error:.4f} after {last:.4f} at smaller ones"
        )
        last, start = error, factors


def check_largest_ranks(method: Method, options: Any, layer: nn.Module) -> None:
    """The largest useful ranks reproduce the weight."""
    target = at(method, options, layer)
    error = _error(target, target.factorise(target.largest, seed=0))
    _require(error < 1e-5, f"error at the largest ranks {target.largest}: got {error:.2g}, wanted none")


def check_zero_weight(method: Method, options: Any, layer: nn.Module) -> None:
    """A weight of zeros comes back as zeros, or is refused by NotApplicable."""
    nn.init.zeros_(cast(Tensor, layer.weight))
    target = at(method, options, layer)
    for ranks in sample_ranks(target):
        try:
            weight = target.dense(target.factorise(ranks, seed=0))
        except NotApplicable:
            continue
        _require(not weight.any(), f"weight of zeros at ranks {ranks}: got values up to {weight.abs().max():.2g}")


def check_deficient_weight(method: Method, options: Any, layer: nn.Module) -> None:
    """A weight whose output channels are all alike is factorised into finite numbers, or refused by NotApplicable."""
    weight = cast(Tensor, layer.weight)
    weight.data.copy_(weight.data[:1].expand_as(weight))
    target = at(method, options, layer)
    for ranks in sample_ranks(target):
        try:
            factors = target.factorise(ranks, seed=0)
        except NotApplicable:
            continue
        _require(all(bool(factor.isfinite().all()) for factor in factors), f"factors at ranks {ranks}: not finite")
    check_largest_ranks(method, options, layer)


def check_deterministic(method: Method, options: Any, layer: nn.Module) -> None:
    """One seed gives the same bits, and the global generator is neither used nor moved."""
    target = at(method, options, layer)
    for ranks in sample_ranks(target):
        before = torch.get_rng_state()
        first = target.factorise(ranks, seed=0)
        _module(target, first)
        _require(torch.equal(before, torch.get_rng_state()), "torch's global generator moved; use one of your own")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            second = target.factorise(ranks, seed=0)
        same = all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
        _require(same, f"factors at ranks {ranks}: got other bits from the same seed")


def check_input_unmodified(method: Method, options: Any, layer: nn.Module) -> None:
    """Neither the layer nor its weight changes, and the new layer shares no memory with them."""
    before = copy.deepcopy(layer.state_dict())
    target = at(method, options, layer)
    module = _module(target, target.factorise(sample_ranks(target)[0], seed=0))
    for parameter in module.parameters():
        parameter.data.add_(1.0)
    for name, tensor in layer.state_dict().items():
        _require(torch.equal(tensor, before[name]), f"the layer's {name} changed, at once or with the new layer")


def check_dtype(method: Method, options: Any, layer: nn.Module) -> None:
    """Factors, reconstruction and layer have the weight's dtype, float32 or float64."""
    for dtype in (torch.float32, torch.float64):
        target = at(method, options, layer.to(dtype))
        factors = target.factorise(target.largest, seed=0)
        tensors = [*factors, target.dense(factors), *_module(target, factors).parameters()]
        got = {tensor.dtype for tensor in tensors}
        _require(got == {dtype}, f"dtype: got {got} from a weight of {dtype}")


def check_state_dict(method: Method, options: Any, layer: nn.Module) -> None:
    """The layer's state dict loads into the layer of other factors, which then computes the same; modes are kept."""
    target = at(method, options, layer.eval())
    ranks = sample_ranks(target)[0]
    module = _module(target, target.factorise(ranks, seed=0))
    _require(not module.training, "the new layer is in training mode, the old one in eval mode")
    other = sample_layer(lambda: copy.deepcopy(layer))
    nn.init.normal_(cast(Tensor, other.weight), generator=torch.Generator().manual_seed(1))
    twin = _module(at(method, options, other), at(method, options, other).factorise(ranks, seed=0))
    twin.load_state_dict(module.state_dict())
    picture = sample_input(layer)
    _require(torch.equal(twin(picture), module(picture)), "output changed when the state dict went to a twin")


GEOMETRY: tuple[Check, ...] = (check_count, check_macs, check_output)
"""Checks of what a layer computes and costs: for every kind of layer."""

ALGEBRA: tuple[Check, ...] = (
    check_leading_dimensions,
    check_monotone,
    check_largest_ranks,
    check_zero_weight,
    check_deficient_weight,
    check_deterministic,
    check_input_unmodified,
    check_dtype,
    check_state_dict,
)
"""Checks of the factors: for a few kinds of weight."""

_ALGEBRA_LAYERS = ("3x3", "3x5 same", "5x5 from one channel", "1x1", "linear")


def at(method: Method, options: Any, layer: nn.Module) -> OnLayer:
    """The method at work on one layer, group by group where the layer has several."""
    return OnLayer(Functions(method, options), "", layer)


def sample_ranks(target: OnLayer) -> list[Ranks]:
    """Ranks at a third, two thirds and all of the largest useful ones."""
    return [tuple(max(1, rank * part // 3) for rank in target.largest) for part in (1, 2, 3)]


def sample_input(layer: nn.Module) -> Tensor:
    """Two random inputs of the layer's dtype: (2, in) or (2, C, *SIDES)."""
    weight = cast(Tensor, layer.weight)
    sides = SIDES.get(dimensions(layer), ())
    channels = layer.in_features if isinstance(layer, nn.Linear) else cast(nn.Conv2d, layer).in_channels
    return torch.randn(2, channels, *sides, dtype=weight.dtype, generator=torch.Generator().manual_seed(0))


def _module(target: OnLayer, factors: Factors) -> nn.Module:
    (module,) = target.modules(factors).values()
    return module


def _error(target: OnLayer, factors: Factors) -> float:
    dense, weight = target.dense(factors), target.weight
    _require(dense.shape == weight.shape, f"dense: got the shape {tuple(dense.shape)}, wanted {tuple(weight.shape)}")
    return float(torch.dist(dense, weight) / weight.norm())


def _with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    twin = copy.deepcopy(layer)
    cast(Tensor, twin.weight).data.copy_(weight)
    return twin


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
