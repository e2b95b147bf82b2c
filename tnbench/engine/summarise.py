"""From a swapped network to the summary of its layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tnbench.engine.applied import Applied
from tnbench.engine.blueprint import blueprint
from tnbench.engine.candidates import compressible_layers
from tnbench.engine.summary import LayerSummary, Summary
from tnbench.engine.swapped import Swapped
from tnbench.measure.counts import count_params


def summarise(model: nn.Module, swapped: Swapped) -> Summary:
    """What became of each layer of `model`, and how far its factors are from its weight."""
    found = {name: _unchanged(name, layer, swapped) for name, layer in compressible_layers(model).items()}
    for name in swapped.ranks.keys() & swapped.targets.keys():
        for summary in _factorised(swapped.targets[name], swapped):
            found[summary.name] = summary
    nonzero = count_params(swapped.model) - sum(layer.stored - layer.params for layer in found.values())
    return Summary(tuple(found.values()), count_params(model), count_params(swapped.model), nonzero, blueprint(swapped))


def _unchanged(name: str, layer: nn.Module, swapped: Swapped) -> LayerSummary:
    """The layer as it was, or as a narrowed network has it."""
    weight = cast(Tensor, layer.weight)
    now = cast(Tensor, swapped.model.get_submodule(name).weight) if not swapped.targets else weight
    narrowed = now.shape != weight.shape
    note = f"narrowed to {'x'.join(map(str, now.shape))}" if narrowed else swapped.notes.get(name, "")
    return LayerSummary(
        name=name,
        kind=_kind(layer),
        shape=tuple(weight.shape),
        ranks=(),
        params_dense=weight.numel(),
        params=now.numel(),
        stored=now.numel(),
        error=None,
        note=note,
        norm=float(weight.detach().double().norm()),
        compressed=narrowed,
        part=name,
    )


def _factorised(target: Applied, swapped: Swapped) -> list[LayerSummary]:
    """One summary per layer of the target. Layers that share factors share their number evenly."""
    ranks, factors = swapped.ranks[target.name], swapped.factors[target.name]
    count, stored = target.count(ranks), sum(factor.numel() for factor in factors)
    dense = target.dense(factors).double()
    weights = target.weight.double()
    alone = len(target.layers) == 1 and dense.shape == next(iter(target.layers.values())).weight.shape
    pairs = zip([dense] if alone else dense, [weights] if alone else weights, strict=True)
    note = "" if alone else f"shares factors in {target.name!r}, {len(target.layers)} layers"
    summaries = []
    for index, ((name, layer), (near, weight)) in enumerate(zip(target.layers.items(), pairs, strict=True)):
        norm, distance = float(weight.norm()), float(torch.dist(weight, near))
        summaries.append(
            LayerSummary(
                name=name,
                kind=_kind(layer),
                shape=tuple(weight.shape),
                ranks=ranks,
                params_dense=weight.numel(),
                params=_share(count, index, len(target.layers)),
                stored=_share(stored, index, len(target.layers)),
                error=distance / norm if norm > 0 else distance,
                note=note,
                norm=norm,
                compressed=True,
                part=target.name,
                diagnosis=target.diagnose(factors),
            )
        )
    return summaries


def _share(total: int, index: int, among: int) -> int:
    return total // among + (index < total % among)


def _kind(layer: nn.Module) -> str:
    return "linear" if isinstance(layer, nn.Linear) else "conv"
