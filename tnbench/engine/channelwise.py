"""Operations without weights that keep channels apart, as nodes of a torch.fx graph.

Channels of a picture lie along axis 1, before `sides` spatial axes. Flattened, they lie along the last axis, each with
a block of neighbouring entries, and `sides` is 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

Rule = Callable[[fx.Node, nn.Module | None, int], int | None]


def sides_behind(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    """Spatial axes of what `node` makes of channels with `sides` of them; None where it may mix or move channels.

    `module` is what the node calls, if it calls one. Its first argument is what has the channels.
    """
    rule = _RULES.get(node.target if module is None else type(module))
    return None if rule is None else rule(node, module, sides)


def reads_batch_size(node: fx.Node) -> bool:
    """Whether `node` asks a tensor for its shape, and uses of it the batch size alone."""
    if node.op == "call_method" and node.target == "size" and len(node.args) > 1:
        return node.args[1:] == (0,)
    asks = node.target == "size" or (node.target is getattr and node.args[1:] == ("shape",))
    return asks and all(user.target is operator.getitem and user.args[1:] == (0,) for user in node.users)


def _same(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    return sides


def _pooled(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    return sides or None


def _flattened(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    if isinstance(module, nn.Flatten):
        ends = module.start_dim, module.end_dim
    else:
        ends = _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1)
    return 0 if sides and ends in ((1, -1), (1, sides + 1)) else None


def _averaged(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    axes = _argument(node, 1, "dim", None)
    axes = (axes,) if isinstance(axes, int) else axes or ()
    if not sides or {axis % (sides + 2) for axis in axes} != set(range(2, sides + 2)):
        return None
    return sides if _argument(node, 2, "keepdim", False) else 0


def _reshaped(node: fx.Node, module: nn.Module | None, sides: int) -> int | None:
    """Only to (batch size, everything else)."""
    shape = node.args[1] if len(node.args) == 2 else node.args[1:]
    fits = isinstance(shape, Sequence) and len(shape) == 2 and _is_batch_size(shape[0]) and shape[1] == -1
    return 0 if sides and fits else None


def _is_batch_size(value: Any) -> bool:
    if not isinstance(value, fx.Node):
        return False
    if value.target is operator.getitem:
        return value.args[1:] == (0,) and isinstance(value.args[0], fx.Node) and reads_batch_size(value.args[0])
    return value.target == "size" and reads_batch_size(value)


def _argument(node: fx.Node, at: int, name: str, default: Any) -> Any:
    return node.args[at] if len(node.args) > at else node.kwargs.get(name, default)


def _named(*names: str) -> list[Any]:
    """Torch's functions of these names, and the names themselves, which stand for methods of tensors."""
    owners = (torch, functional)
    return [*names, *(getattr(owner, name) for owner in owners for name in names if hasattr(owner, name))]


_ELEMENTWISE = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *_named("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish"),
    *_named("hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus"),
    *_named("dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous"),
)
_POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *_named(*(f"{kind}_pool{d}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for d in (1, 2, 3))),
)
_RULES: dict[Any, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _same),
    **dict.fromkeys(_POOLING, _pooled),
    **dict.fromkeys([nn.Flatten, *_named("flatten")], _flattened),
    **dict.fromkeys(_named("mean"), _averaged),
    **dict.fromkeys(["view", "reshape"], _reshaped),
}
