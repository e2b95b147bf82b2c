"""Public checks of where a method's layers can go: compilers, exporters, other memory formats and dtypes, copies.

Each check takes the method, its options and one layer, and raises AssertionError that says what was got and wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.protocols import Method
from tnbench.engine.applied import Functions, OnGroup, OnLayer
from tnbench.layers.plain import CONVOLUTIONS, dimensions

Check = Callable[[Method, Any, nn.Module], None]

PLAIN: tuple[type[nn.Module], ...] = (
    nn.Sequential,
    nn.Linear,
    nn.Flatten,
    nn.Unflatten,
    nn.ChannelShuffle,
    *CONVOLUTIONS,
)
"""What a layer in plain form is made of: linear maps and changes of shape."""

ONNX = ("onnx", "onnxscript", "onnxruntime")
"""The packages of the extra `onnx`."""

SIDES = {1: (11,), 2: (9, 10), 3: (6, 5, 7)}
"""Spatial sides of what convolutions are tried on, by their dimensions."""


def check_compile(method: Method, options: Any, layer: nn.Module) -> None:
    """``torch.compile`` captures the layer as one graph that computes the same, forward and backward."""
    module, picture = _made(method, options, layer)
    torch.compiler.reset()
    copied = copy.deepcopy(module)
    compiled = torch.compile(copied, fullgraph=True, backend="eager")
    try:
        got = compiled(picture)
    except Exception as error:
        raise AssertionError(
            f"torch.compile: wanted one graph, got {type(error).__name__}: {_first_line(error)}"
        ) from error
    _require_equal(got, module(picture), "torch.compile")
    got.sum().backward()
    lacking = [name for name, parameter in copied.named_parameters() if parameter.grad is None]
    _require(not lacking, f"torch.compile: got no gradient for {', '.join(lacking)}")


def check_export(method: Method, options: Any, layer: nn.Module) -> None:
    """``torch.export`` gives a program that computes the same, for any number of pictures."""
    module, picture = _made(method, options, layer.eval())
    exported = _exported(module, picture).module()
    for inputs in (picture, torch.cat([picture, -picture[:1]])):
        _require_equal(exported(inputs), module(inputs), f"torch.export, {len(inputs)} pictures")


def check_channels_last(method: Method, options: Any, layer: nn.Module) -> None:
    """A layer in channels-last memory takes pictures in it and computes the same; in two dimensions it gives it on.

    In three dimensions torch's own 1x1x1 convolution does not.
    """
    if dimensions(layer) < 2:
        return
    last = torch.channels_last if dimensions(layer) == 2 else torch.channels_last_3d
    module, picture = _made(method, options, layer)
    wanted = module(picture)
    got = copy.deepcopy(module).to(memory_format=last)(picture.to(memory_format=last))
    _require_equal(got, wanted, "channels-last memory")
    _require(
        dimensions(layer) == 3 or got.is_contiguous(memory_format=last),
        f"channels-last memory: got an output {tuple(got.shape)} with strides {tuple(got.stride())}",
    )


def check_bf16(method: Method, options: Any, layer: nn.Module) -> None:
    """A bfloat16 weight becomes a bfloat16 layer, whose output is near that of the same factors in float32."""
    module, picture = _made(method, options, layer.to(torch.bfloat16))
    dtypes = {parameter.dtype for parameter in module.parameters()}
    _require(dtypes == {torch.bfloat16}, f"bfloat16: got parameters of {_named(dtypes)} from a bfloat16 weight")
    got, wanted = module(picture).detach(), copy.deepcopy(module).float()(picture.float()).detach()
    _require(got.dtype == torch.bfloat16, f"bfloat16: got an output of {got.dtype}")
    apart = float(torch.dist(got.float(), wanted) / wanted.norm().clamp(min=1e-30))
    _require(apart < _BF16, f"bfloat16: got an output {apart:.2g} away from the same layer in float32, relatively")


def check_deepcopy(method: Method, options: Any, layer: nn.Module) -> None:
    """A deep copy, taken after a backward pass as well, computes the same and shares no memory with the layer."""
    module, picture = _made(method, options, layer)
    module(picture).sum().backward()
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise AssertionError(f"a deep copy: got {type(error).__name__}: {_first_line(error)}") from error
    wanted = module(picture).detach()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data.zero_()
    _require_equal(copied(picture), wanted, "a deep copy, once the layer it is of has changed")


def check_sequential(method: Method, options: Any, layer: nn.Module) -> None:
    """A module with ``to_sequential`` computes the same in that form, of plain torch layers in the same mode.

    The form shares no memory with the module.
    """
    module, picture = _made(method, options, layer.eval())
    if not hasattr(module, "to_sequential"):
        return
    wanted = module(picture).detach()
    plain = cast(nn.Module, cast(Any, module).to_sequential())
    others = sorted({type(part).__name__ for part in plain.modules() if type(part) not in PLAIN})
    _require(type(plain) is nn.Sequential, f"to_sequential: got a {type(plain).__name__}, wanted a Sequential")
    _require(not others, f"to_sequential: got {', '.join(others)}, wanted plain torch layers only")
    _require(not any(part.training for part in plain.modules()), "to_sequential: got training mode of a layer in eval")
    for parameter in module.parameters():
        parameter.data.zero_()
    _require_equal(plain(picture), wanted, "to_sequential, once the layer it is of has changed")


def check_onnx(method: Method, options: Any, layer: nn.Module) -> None:
    """The layer goes through ``torch.onnx.export`` and computes the same in ONNX Runtime, for any number of pictures.

    Needs the extra `onnx`; takes a second or more, however small the layer.
    """
    check_onnx_of_all({"": (method, options, layer)})


def check_onnx_of_all(cases: Mapping[str, tuple[Method, Any, nn.Module]]) -> None:
    """As `check_onnx`, for layers that take the same inputs, all in one ONNX graph: in the time that one takes."""
    import onnxruntime

    made = {name: _made(method, options, layer.eval()) for name, (method, options, layer) in cases.items()}
    layers, picture = _Beside([module for module, _ in made.values()]), next(iter(made.values()))[1]
    program = torch.onnx.export(_exported(layers, picture), dynamo=True, verbose=False)
    if program is None:
        raise AssertionError("torch.onnx.export: got no program")
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for inputs in (picture, torch.cat([picture, -picture[:1]])):
        outputs = session.run(None, {given.name: inputs.numpy()})
        for name, got, wanted in zip(made, outputs, layers(inputs), strict=True):
            _require_equal(torch.as_tensor(got), wanted, f"{name} ONNX Runtime, {len(inputs)} pictures".lstrip())


class _Beside(nn.Module):
    """Several layers of the same inputs."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


EXPORTS: tuple[Check, ...] = (
    check_compile,
    check_export,
    check_channels_last,
    check_bf16,
    check_deepcopy,
    check_sequential,
)
"""The checks that need no extra."""

_NEAR = 1e-5
_BF16 = 0.05
"""Four roundings of 8 bits and their sums stay well below this."""


def _made(method: Method, options: Any, layer: nn.Module) -> tuple[nn.Module, Tensor]:
    """The method's module in place of `layer`, at half of the largest ranks, and two random inputs."""
    functions = Functions(method, options)
    grouped = getattr(method, "SCOPE", "layer") == "group"
    target = OnGroup(functions, "", {"": layer}) if grouped else OnLayer(functions, "", layer)
    ranks = tuple(max(1, rank // 2) for rank in target.largest)
    (module,) = target.modules(target.factorise(ranks, seed=0)).values()
    return module, _input(layer)


def _input(layer: nn.Module) -> Tensor:
    channels = layer.in_features if isinstance(layer, nn.Linear) else cast(_ConvNd, layer).in_channels
    drawn = torch.randn(2, channels, *SIDES.get(dimensions(layer), ()), generator=torch.Generator().manual_seed(0))
    return drawn.to(cast(Tensor, layer.weight).dtype)


def _exported(module: nn.Module, picture: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    try:
        return torch.export.export(module, (picture,), dynamic_shapes=({0: batch},))
    except Exception as error:
        raise AssertionError(f"torch.export: got {type(error).__name__}: {_first_line(error)}") from error


def _require_equal(got: Tensor, wanted: Tensor, where: str) -> None:
    _require(got.shape == wanted.shape, f"{where}: got the shape {tuple(got.shape)}, wanted {tuple(wanted.shape)}")
    apart = float((got - wanted).detach().abs().max())
    _require(apart <= _NEAR, f"{where}: got an output {apart:.2g} away from the layer's own")


def _named(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(map(str, dtypes)))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
