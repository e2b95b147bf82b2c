"""What rank policies may ask of the layers: `tnbench.core.protocols.Probe`, answered only when asked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache, cached_property

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.protocols import Factors, Ranks, Stats
from tnbench.engine.applied import Applied
from tnbench.engine.conditions import Conditions
from tnbench.engine.layer_time import forward_ms
from tnbench.measure.counts import Sizes, count_macs, count_params, layer_macs, layer_sizes

_LATENCY_LEAST_S = 0.01


class Probe:
    """Answers about the candidates of one network.

    `swapped` gives the network at some ranks, `stats` what reaches a layer of the dense network, for a data-aware
    solver, and None for others.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: Mapping[str, Applied],
        conditions: Conditions,
        swapped: Callable[[Mapping[str, Ranks]], nn.Module],
        stats: Callable[[str], Stats | None] = lambda name: None,
    ) -> None:
        self._model, self._targets, self._conditions, self._swapped = model, targets, conditions, swapped
        self._stats = cache(stats)
        self.error = cache(self._error)
        self.spectra = cache(self._spectra)
        self.latency_ms = cache(self._latency_ms)

    @cached_property
    def elsewhere(self) -> int:
        """Parameters that no choice touches."""
        return count_params(self._model) - sum(target.weight.numel() for target in self._targets.values())

    @cached_property
    def sizes(self) -> Mapping[str, list[Sizes]]:
        """Name -> sizes of what enters and leaves each layer for one picture."""
        if self._conditions.in_shape is None:
            raise NotApplicable("the size of the pictures is unknown; give compress an in_shape such as (3, 32, 32)")
        try:
            return layer_sizes(self._model, self._conditions.in_shape)
        except RuntimeError as error:
            raise UsageError(f"in_shape {self._conditions.in_shape}: the network does not take it: {error}") from None

    @cached_property
    def macs_elsewhere(self) -> int:
        """Multiply-accumulates of all layers that are no candidates."""
        if self._conditions.in_shape is None:
            raise NotApplicable("the size of the pictures is unknown; give compress an in_shape such as (3, 32, 32)")
        dense = sum(map(self.dense_macs, self._targets))
        return count_macs(self._model, self._conditions.in_shape) - dense

    def dense_macs(self, name: str) -> int:
        """Multiply-accumulates of a candidate as it is, for one picture."""
        layers = self._targets[name].layers
        return sum(layer_macs(layer, *size) for own, layer in layers.items() for size in self.sizes.get(own, ()))

    def weight(self, name: str) -> Tensor:
        """The dense weight of a candidate."""
        return self._targets[name].weight

    def table(self, name: str) -> Mapping[str, Ranks]:
        """The rank table called `name`."""
        if self._conditions.table is None:
            raise NotApplicable("no folder of rank tables is known here")
        return self._conditions.table(name)

    def drop(self, choices: Mapping[str, Ranks]) -> float:
        """Points of top-1 that these ranks lose on the validation pictures."""
        if self._conditions.validate is None:
            raise NotApplicable("the drop of accuracy is asked for, and there are no labelled pictures or no training")
        return self._dense_top1 - self._conditions.validate(self._swapped(choices))

    @cached_property
    def _dense_top1(self) -> float:
        assert self._conditions.validate is not None
        return self._conditions.validate(copy.deepcopy(self._model))

    def _refuse_random(self, what: str) -> None:
        if self._conditions.scratch:
            raise NotApplicable(
                f"training starts from random weights, whose {what} nothing; take a rank such as x4 or k16"
            )

    def _spectra(self, name: str) -> tuple[Tensor, ...]:
        self._refuse_random("spectrum says")
        return self._targets[name].spectra()

    def _error(self, name: str, ranks: Ranks) -> float:
        self._refuse_random("errors say")
        target = self._targets[name]
        weight = target.weight.double()
        apart = weight - target.dense(self._factors(name, ranks)).double()
        return float(apart.norm() / (weight.norm() or 1.0))

    def _latency_ms(self, name: str, ranks: Ranks | None) -> float:
        target = self._targets[name]
        if target.sparse:
            raise NotApplicable("weights that are set to zero one by one leave times as they were, at any rank")
        layers = target.layers if ranks is None else target.modules(self._factors(name, ranks))
        sizes = [(layer, inp) for own, layer in layers.items() for inp, _ in self.sizes.get(own, ())]
        like = target.weight
        ones = [(layer, torch.ones(inp, dtype=like.dtype, device=like.device)) for layer, inp in sizes]
        return sum(forward_ms(layer, inputs, least_s=_LATENCY_LEAST_S) for layer, inputs in ones)

    def _factors(self, name: str, ranks: Ranks) -> Factors:
        return self._targets[name].factorise(ranks, seed=self._conditions.seed, stats=self._stats(name))
