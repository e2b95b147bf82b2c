"""Which layers of a network may be compressed, and why the others stay dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import UsageError, nearest
from tnbench.core.registry import Bound
from tnbench.engine.applied import functions_of


def compressible_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer of every convolution and linear layer, in the model's order; a method may still refuse some."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, (_ConvNd, nn.Linear))}


def first_and_last(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that papers keep dense."""
    names = list(compressible_layers(model))
    return tuple(dict.fromkeys([*names[:1], *names[-1:]]))


def assign(
    layers: Mapping[str, nn.Module],
    methods: Sequence[Bound],
    keep: Sequence[str],
    skip: Sequence[str],
    only: Sequence[str] | None,
) -> tuple[dict[str, Bound], dict[str, str]]:
    """Name -> the method that compresses the layer, and name -> why no method does.

    In a mixture a layer goes to the method that serves the fewest layers of those that serve it, so that
    ``tucker2+tt_linear`` gives linear layers to tt_linear; the first one where two serve as many. A method's own
    `skip` and `only` come on top. Raises UsageError for a glob that matches no name.
    """
    reasons = [_reasons(layers, method, keep, (*skip, *method.skip), only) for method in methods]
    assigned: dict[str, Bound] = {}
    for name in layers:
        served = [(len(why), -at) for at, why in enumerate(reasons) if name not in why]
        if served:
            assigned[name] = methods[-max(served)[1]]
    return assigned, {name: _joined(methods, name, reasons) for name in layers if name not in assigned}


def reasons_to_stay(
    layers: Mapping[str, nn.Module],
    method: Bound,
    keep: Sequence[str],
    skip: Sequence[str],
    only: Sequence[str] | None,
) -> dict[str, str]:
    """Name -> why the layer stays dense, whatever the ranks. Raises UsageError for a glob that matches no name."""
    skipped, wanted = _matching("skip", skip, layers), _matching("only", only or (), layers)
    refuses, tied = functions_of(method).refuses, _tied(layers)
    reasons: dict[str, str] = {}
    for name, layer in layers.items():
        if name in skipped:
            reasons[name] = "skipped as asked"
        elif only is not None and name not in wanted:
            reasons[name] = "not among the layers asked for"
        elif only is None and name in keep:
            reasons[name] = "first or last layer"
        elif name in tied and method.atom.name != "dense":
            reasons[name] = f"its weight is that of {tied[name]!r} too"
        elif refusal := refuses(layer):
            reasons[name] = refusal
    return reasons


def _reasons(
    layers: Mapping[str, nn.Module],
    method: Bound,
    keep: Sequence[str],
    skip: Sequence[str],
    only: Sequence[str] | None,
) -> dict[str, str]:
    """As `reasons_to_stay`, for layers that the method's own `only` and the one asked for both match."""
    found = [reasons_to_stay(layers, method, keep, skip, globs) for globs in (method.only, only) if globs is not None]
    return {**found[0], **found[-1]} if found else reasons_to_stay(layers, method, keep, skip, None)


def _tied(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Name of a layer -> the other one that has the same weight."""
    names: dict[int, list[str]] = {}
    for name, layer in layers.items():
        names.setdefault(id(layer.weight), []).append(name)
    return {
        name: next(other for other in same if other != name) for same in names.values() if same[1:] for name in same
    }


def _joined(methods: Sequence[Bound], name: str, reasons: Sequence[Mapping[str, str]]) -> str:
    """Why no method takes the layer: one sentence where all say the same."""
    if len({why[name] for why in reasons}) == 1:
        return reasons[0][name]
    return "; ".join(f"{method.atom.name}: {why[name]}" for method, why in zip(methods, reasons, strict=True))


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
