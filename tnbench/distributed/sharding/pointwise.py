"""Layers and functions that work on each value by itself, so that they do to a part what they do to the whole."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn
from torch.nn import functional

MODULES = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
)

_FUNCTIONS = frozenset(
    {
        *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.selu, functional.gelu),
        *(functional.silu, functional.mish, functional.hardswish, functional.hardsigmoid, functional.hardtanh),
        *(functional.sigmoid, functional.tanh, functional.softplus),
        *(torch.relu, torch.sigmoid, torch.tanh, torch.clamp),
        *(torch.add, torch.sub, torch.mul, torch.div, torch.neg),
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg),
        *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    }
)

_METHODS = frozenset(
    {"relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "clamp", "clamp_", "contiguous"}
    | {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg"}
)


def is_pointwise(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether `node`, which calls `module` if it calls one, works on each value, or pair of values, by itself."""
    if node.op == "call_module":
        return type(module) in MODULES
    if any(_is_of_parameters(source) for source in node.all_input_nodes):
        return False  # the gradient of a parameter of the network itself would be that of a part
    return calls(node, _FUNCTIONS, _METHODS)


def _is_of_parameters(node: fx.Node) -> bool:
    """Whether `node` is made from parameters or buffers of the network itself, and from nothing else."""
    sources = node.all_input_nodes
    return node.op == "get_attr" or (bool(sources) and all(_is_of_parameters(source) for source in sources))


def calls(node: fx.Node, functions: frozenset[object], methods: frozenset[str] = frozenset()) -> bool:
    """Whether `node` calls one of `functions`, or of the `methods` of tensors."""
    if node.op == "call_function":
        return node.target in functions
    return node.op == "call_method" and node.target in methods


def mean_over_sides(node: fx.Node, dims: int) -> bool | None:
    """Whether the sides are kept (as 1) where `node` is a mean over all `dims` sides of pictures; None if it is not."""
    if not calls(node, frozenset({torch.mean}), frozenset({"mean"})):
        return None
    over, keep = argument(node, 1, "dim", None), argument(node, 2, "keepdim", False)
    if not isinstance(over, (tuple, list)) or sorted(over) != list(range(2, 2 + dims)) or "dtype" in node.kwargs:
        return None
    return bool(keep)


def argument(node: fx.Node, place: int, name: str, default: object) -> object:
    """What a call is given at `place`, or by `name`."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def is_every_nth(node: fx.Node) -> tuple[int, ...] | None:
    """The steps along the sides where `node` is ``x[:, :, ::s, ::s]``; None if it is anything else."""
    index = node.args[1] if node.op == "call_function" and node.target is operator.getitem else None
    if not isinstance(index, tuple) or len(index) < 2 or not all(isinstance(side, slice) for side in index):
        return None
    if any((side.start, side.stop) != (None, None) for side in index) or index[:2] != (slice(None),) * 2:
        return None
    steps = tuple(1 if side.step is None else side.step for side in index[2:])
    return steps if all(isinstance(step, int) and step > 0 for step in steps) else None


def padding_of(node: fx.Node) -> tuple[int, ...] | None:
    """What `node` pads with zeros, in the order of ``functional.pad``; None if it does not do that."""
    if not (node.op == "call_function" and node.target is functional.pad):
        return None
    pad, mode, value = (
        argument(node, 1, "pad", None),
        argument(node, 2, "mode", "constant"),
        argument(node, 3, "value", 0),
    )
    sound = isinstance(pad, (tuple, list)) and all(isinstance(side, int) for side in pad)
    return tuple(pad) if sound and mode == "constant" and value in (None, 0) else None  # type: ignore[arg-type]
