"""Parameters, multiply-accumulates and bytes of a network, counted from its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from tnbench.core.protocols import Pixels, Shape

Visit = Callable[[str, nn.Module, Tensor, Tensor], None]


def count_params(model: nn.Module) -> int:
    """Number of parameters; one that is shared counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def state_bytes(model: nn.Module) -> int:
    """Bytes of the tensors in the state dict, buffers included."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def count_macs(model: nn.Module, in_shape: Shape) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one picture of `in_shape` (C, H, W).

    Bias, normalisation and activations are not counted, nor are linear maps that are no modules. The network runs
    once in eval mode; its state is left as it was.

    >>> count_macs(nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32)) == 3 * 8 * 9 * 32 * 32
    True
    """
    total = 0

    def add(name: str, layer: nn.Module, inp: Tensor, out: Tensor) -> None:
        nonlocal total
        total += _macs(layer, inp, out)

    _visit_layers(model, in_shape, add)
    return total


def pixels_of(layer: nn.Module, in_hw: tuple[int, int]) -> Pixels:
    """Where the factors of a Conv2d run for an input of `in_hw` pixels; (1, 1, 1) for a Linear.

    Along an axis where the kernel's side is 1 the first factor has the stride, so all positions are the output's.
    """
    if not isinstance(layer, nn.Conv2d):
        return Pixels(1, 1, 1)
    out = tuple(_out_side(layer, axis, in_hw[axis]) for axis in (0, 1))
    inp = tuple(out[axis] if layer.kernel_size[axis] == 1 else in_hw[axis] for axis in (0, 1))
    return Pixels(inp[0] * inp[1], out[0] * inp[1], out[0] * out[1])


def _out_side(layer: nn.Conv2d, axis: int, side: int) -> int:
    if layer.padding == "same":
        return side
    padding = 0 if isinstance(layer.padding, str) else layer.padding[axis]
    reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
    return (side + 2 * padding - reach - 1) // layer.stride[axis] + 1


def _macs(layer: nn.Module, inp: Tensor, out: Tensor) -> int:
    weight = cast(Tensor, layer.weight)
    if isinstance(layer, nn.Linear):
        return out.numel() // layer.out_features * weight.numel()
    positions = inp if isinstance(layer, _ConvTransposeNd) else out
    return positions[0, 0].numel() * weight.numel()


def _visit_layers(model: nn.Module, in_shape: Shape, visit: Visit) -> None:
    """Run one black picture through the network and call `visit` as each layer is done."""
    first = next(model.parameters(), torch.empty(0))
    picture = torch.zeros(1, *in_shape, dtype=first.dtype, device=first.device)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, (_ConvNd, nn.Linear))]
    hooks = [layer.register_forward_hook(_hook(name, visit)) for name, layer in layers]
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
