"""Parameters, multiply-accumulates and bytes of a network, counted from its modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from tnbench.core.protocols import Pixels, Shape

Visit = Callable[[str, nn.Module, Tensor, Tensor], None]
Sizes = tuple[torch.Size, torch.Size]
"""Sizes of what enters and what leaves a layer, batch size included."""


def count_params(model: nn.Module) -> int:
    """Number of parameters; one that is shared counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def state_bytes(model: nn.Module) -> int:
    """Bytes of the tensors in the state dict, buffers included."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def count_macs(model: nn.Module, in_shape: Shape) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one picture of `in_shape` (C, H, W).

    A module that has a method ``macs(inp, out)`` counts itself, by the sizes of what enters and leaves it. Bias,
    normalisation and activations are not counted, nor are linear maps that are no modules. The network runs once in
    eval mode; its state is left as it was.

    >>> count_macs(nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32)) == 3 * 8 * 9 * 32 * 32
    True
    """
    total = 0

    def add(name: str, layer: nn.Module, inp: Tensor, out: Tensor) -> None:
        nonlocal total
        total += layer_macs(layer, inp.shape, out.shape)

    _visit_layers(model, in_shape, add)
    return total


def layer_sizes(model: nn.Module, in_shape: Shape) -> dict[str, list[Sizes]]:
    """Name -> sizes of what enters and leaves each layer for one picture, one pair for each time that it is called."""
    sizes: dict[str, list[Sizes]] = {}

    def keep(name: str, layer: nn.Module, inp: Tensor, out: Tensor) -> None:
        sizes.setdefault(name, []).append((inp.shape, out.shape))

    _visit_layers(model, in_shape, keep)
    return sizes


def pixels_of(layer: nn.Module, sides: Sequence[int]) -> Pixels:
    """Where the factors of a convolution run for an input with these `sides`; ones for a Linear.

    Along an axis where the kernel's side is 1 the first factor has the stride, so all positions are the output's.
    """
    if isinstance(layer, nn.Linear):
        return Pixels(1, 1, 1)
    convolution = cast(_ConvNd, layer)
    axes = range(len(sides))
    out = [_out_side(convolution, axis, sides[axis]) for axis in axes]
    inp = [out[axis] if convolution.kernel_size[axis] == 1 else sides[axis] for axis in axes]
    return Pixels(*(math.prod(out[:done]) * math.prod(inp[done:]) for done in range(len(sides) + 1)))


def layer_macs(layer: nn.Module, inp: torch.Size, out: torch.Size) -> int:
    """Multiply-accumulates of one layer for what enters and leaves it, batch size included."""
    if _counts_itself(layer):
        return int(cast(Any, layer).macs(inp, out))
    weight = cast(Tensor, layer.weight)
    if isinstance(layer, nn.Linear):
        return out.numel() // layer.out_features * weight.numel()
    positions = inp if isinstance(layer, _ConvTransposeNd) else out
    return positions[0] * math.prod(positions[2:]) * weight.numel()


def _out_side(layer: _ConvNd, axis: int, side: int) -> int:
    if layer.padding == "same":
        return side
    padding = 0 if isinstance(layer.padding, str) else layer.padding[axis]
    reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
    return (side + 2 * padding - reach - 1) // layer.stride[axis] + 1


def _counts_itself(layer: nn.Module) -> bool:
    return callable(getattr(layer, "macs", None))


def _counted_layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers that are counted, without what is inside of one that counts itself."""
    if _counts_itself(model) or isinstance(model, (_ConvNd, nn.Linear)):
        yield prefix, model
        return
    for name, child in model.named_children():
        yield from _counted_layers(child, f"{prefix}.{name}" if prefix else name)


def _visit_layers(model: nn.Module, in_shape: Shape, visit: Visit) -> None:
    """Run one black picture through the network and call `visit` as each layer is done."""
    first = next(model.parameters(), torch.empty(0))
    picture = torch.zeros(1, *in_shape, dtype=first.dtype, device=first.device)
    # A layer that stands in several places is called as often, but has one hook.
    layers = {id(layer): (name, layer) for name, layer in reversed(list(_counted_layers(model)))}
    hooks = [layer.register_forward_hook(_hook(name, visit)) for name, layer in layers.values()]
    try:
        with _evaluating(model), torch.no_grad():
            model(picture)
    finally:
        for hook in hooks:
            hook.remove()


def _hook(name: str, visit: Visit) -> Callable[[nn.Module, tuple[Tensor, ...], Any], None]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], out: Any) -> None:
        visit(name, layer, inputs[0], out)

    return hook


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
