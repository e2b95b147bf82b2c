"""Which layers of a network may be compressed, and why the others stay dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import UsageError, nearest


def compressible_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer of every convolution and linear layer, in the model's order; a method may still refuse some."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, (_ConvNd, nn.Linear))}


def first_and_last(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that papers keep dense."""
    names = list(compressible_layers(model))
    return tuple(dict.fromkeys([*names[:1], *names[-1:]]))


def reasons_to_stay(
    layers: Mapping[str, nn.Module],
    method: Any,
    keep: Sequence[str],
    skip: Sequence[str],
    only: Sequence[str] | None,
) -> dict[str, str]:
    """Name -> why the layer stays dense, whatever the ranks. Raises UsageError for a glob that matches no name."""
    skipped, wanted = _matching("skip", skip, layers), _matching("only", only or (), layers)
    reasons: dict[str, str] = {}
    for name, layer in layers.items():
        if name in skipped:
            reasons[name] = "skipped as asked"
        elif only is not None and name not in wanted:
            reasons[name] = "not among the layers asked for"
        elif only is None and name in keep:
            reasons[name] = "first or last layer"
        elif refusal := method.refuses(layer):
            reasons[name] = refusal
    return reasons


def _matching(option: str, globs: Sequence[str], layers: Mapping[str, nn.Module]) -> set[str]:
    matching: set[str] = set()
    for glob in globs:
        found = {name for name in layers if fnmatchcase(name, glob)}
        if not found:
            best = nearest(glob, layers)
            hint = f"the nearest is {best!r}" if best else f"layers: {', '.join(layers)}"
            raise UsageError(f"{option}: no layer's name matches {glob!r}; {hint}")
        matching |= found
    return matching
