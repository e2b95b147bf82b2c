"""Weight decay on the kernel that a layer's factors stand for, instead of on the factors.

Khodak, Tenenholtz, Mackey and Fusi, "Initialization and regularization of factorized neural layers" (2021,
arXiv:2105.01029), call it Frobenius decay: lambda / 2 ||W(factors)||² is what weight decay is for a dense layer, while
decay of the factors is another penalty (for two factors the nuclear norm of W).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Shape
from tnbench.layers.geometry import Geometry


class KernelDecay:
    """The penalty on kernels of `model`, as gradients of its parameters. `kernels` are those of `kernel_sides`.

    Plain layers among them are left to the optimiser's own decay, which is the same thing there. Raises NotApplicable
    for a layer whose kernel cannot be read off its answers.
    """

    def __init__(self, model: nn.Module, kernels: Mapping[str, Shape], decay: float) -> None:
        self._decay = decay
        self._layers = [(layer, kernels[name]) for name, layer in _factorised(model, kernels).items()]
        self.parameters = {weight for layer, _ in self._layers for weight in layer.parameters() if weight.ndim > 1}

    def add_gradients(self) -> None:
        """Add the penalty's gradient to each parameter that has one already; what is frozen stays so.

        A shared parameter gets the sum over the layers that share it. Every rank adds the same, after gradients were
        averaged.
        """
        moving = [weight for layer, _ in self._layers for weight in layer.parameters() if weight in self.parameters]
        moving = [weight for weight in dict.fromkeys(moving) if weight.grad is not None]
        if not moving:
            return
        norms = [impulse_answers(layer, sides).square().sum() for layer, sides in self._layers]
        penalty = self._decay / 2 * torch.stack(norms).sum()
        for weight, gradient in zip(moving, torch.autograd.grad(penalty, moving, allow_unused=True), strict=True):
            if gradient is not None and weight.grad is not None:
                weight.grad.add_(gradient)


def kernel_sides(layers: Mapping[str, Any]) -> dict[str, Shape]:
    """Name -> (I, *k), channels that arrive and sides, of layers as they were before compression."""
    return {
        name: (layer.in_features,) if isinstance(layer, nn.Linear) else (layer.in_channels, *layer.kernel_size)
        for name, layer in layers.items()
    }


def impulse_answers(layer: nn.Module, sides: Shape) -> Tensor:
    """The kernel (I, O, *k), mirrored along its sides, or (I, O), that `layer` stands for, with its gradient graph.

    `layer` is linear in its input, but for a bias; `sides` are (I, *k). A picture of one pixel, 1 in one channel, goes
    through a twin with stride and dilation of 1 whose padding lets every entry of the kernel meet it.
    """
    channels, *spatial = sides
    like = next(weight for weight in layer.parameters() if weight.ndim > 1)
    ones = torch.eye(channels, dtype=like.dtype, device=like.device)
    pictures = torch.cat([ones, ones.new_zeros(1, channels)]).reshape(channels + 1, channels, *(1 for _ in spatial))
    answers: Tensor = _twin(layer)(pictures)
    return answers[:-1] - answers[-1:]  # the last one is the bias


def _factorised(model: nn.Module, kernels: Mapping[str, Shape]) -> dict[str, nn.Module]:
    """Name -> module of the layers that are not plain."""
    there = dict(model.named_modules(remove_duplicate=False))
    layers = {name: there[name] for name in kernels if name in there}
    found = {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Linear | _ConvNd)}
    for name, layer in found.items():
        _check(name, layer, kernels[name])
    return found


def _check(name: str, layer: nn.Module, sides: Shape) -> None:
    said = ""
    try:
        with torch.no_grad():
            if impulse_answers(layer, sides).shape[2:] == sides[1:]:
                return
    except (RuntimeError, TypeError, ValueError) as error:
        said = f" ({str(error).partition(chr(10))[0]})"
    raise NotApplicable(
        f"decay_on = kernel: the kernel of layer {name!r}, a {type(layer).__name__}, cannot be read off it{said}; "
        f"take decay_on = factors"
    )


def _twin(module: nn.Module) -> nn.Module:
    """A copy that shares all parameters, whose convolutions show every entry of their kernels to a single pixel."""
    twin = copy.copy(module)
    own = vars(twin)
    own.update({name: _opened(value) for name, value in vars(module).items()})
    own["_modules"] = {name: child and _twin(child) for name, child in module._modules.items()}
    if isinstance(module, _ConvNd):
        opened = _opened(Geometry.of(module))
        own.update({name: getattr(opened, name) for name in ("stride", "padding", "dilation", "padding_mode")})
    return twin


def _opened(value: Any) -> Any:
    """A geometry with padding for every entry of its kernel; so too those in lists and tuples; all else as it is."""
    if isinstance(value, Geometry):
        ones, reach = tuple(1 for _ in value.sides), tuple(side - 1 for side in value.sides)
        return dataclasses.replace(value, stride=ones, dilation=ones, padding=reach, padding_mode="zeros")
    if type(value) in (list, tuple) and any(isinstance(part, Geometry | list | tuple) for part in value):
        return type(value)(_opened(part) for part in value)
    return value
