"""Which layers of a network are chains of plain factors, told by their structure alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from torch import nn

from tnbench.layers.plain import CONVOLUTIONS

Factor = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def is_chain(module: nn.Module) -> bool:
    """Whether `module` is what `tnbench.layers.chain` makes: a Sequential of factors, all but the last without bias."""
    if type(module) is not nn.Sequential or len(module) < 2:
        return False
    kinds = {type(layer) for layer in module}
    if len(kinds) > 1 or not kinds <= {*CONVOLUTIONS, nn.Linear}:
        return False
    layers = factors(module)
    fits = all(channels(one)[1] == channels(other)[0] for one, other in pairwise(layers))
    return fits and all(layer.bias is None for layer in layers[:-1])


def chains_of(model: nn.Module) -> dict[str, nn.Sequential]:
    """Name -> chain, in the order of the modules."""
    return {name: cast(nn.Sequential, module) for name, module in _outermost(model) if is_chain(module)}


def whole_layers(model: nn.Module, cut: set[str]) -> list[str]:
    """Names of the layers with weights of two sides or more that are not in `cut`: a chain counts as one layer."""
    names = [name for name, module in _outermost(model) if is_chain(module) or _has_weights(module)]
    return [name for name in names if name not in cut]


def factors(chain: nn.Module) -> list[Factor]:
    """The layers of a chain, first applied first; a layer alone is a chain of one."""
    return [cast(Factor, layer) for layer in chain] if isinstance(chain, nn.Sequential) else [cast(Factor, chain)]


def channels(layer: Factor) -> tuple[int, int]:
    """Channels, or features, that enter and that leave."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def groups(layer: Factor) -> int:
    """Groups of a convolution; 1 for a linear layer."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def is_depthwise(layer: Factor) -> bool:
    """Whether each channel is convolved by itself, into one."""
    inp, out = channels(layer)
    return groups(layer) == inp == out and groups(layer) > 1


def is_own_layer(module: nn.Module) -> bool:
    """Whether `module` is a layer of ours that is no chain, such as a tensor ring."""
    return type(module).__module__.startswith("tnbench.layers.")


def _outermost(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """All modules, without what is inside of a chain or of a layer with weights; one that has two names comes once."""
    inner: list[str] = []
    for name, module in model.named_modules(prefix=prefix):
        if any(name.startswith(f"{outer}.") or outer == "" for outer in inner):
            continue
        if is_chain(module) or _has_weights(module):
            inner.append(name)
        yield name, module


def _has_weights(module: nn.Module) -> bool:
    return is_own_layer(module) or any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
