"""Put another module in a layer's place, or places."""

from __future__ import annotations

from torch import nn


def replaced(model: nn.Module, name: str, new: nn.Module) -> nn.Module:
    """The model with `new` in every place of the layer `name`, which may stand in several or be the model itself."""
    old = model.get_submodule(name)
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
    return new if model is old else model
