"""A method at work: its functions with its options, on one layer or on a group of layers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tnbench.core.errors import NotApplicable
from tnbench.core.protocols import Factors, Ranks, Shape, Stats
from tnbench.core.registry import Bound
from tnbench.layers import gauge
from tnbench.measure.counts import Sizes, pixels_of


class Functions:
    """A method's functions, each given the options if it asks for them by a parameter of that name.

    >>> from tnbench.methods import svd
    >>> Functions(svd, svd.Options()).count((4, 6), (1,))
    10
    """

    def __init__(self, module: Any, options: Any) -> None:
        self.module, self.options = module, options

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return with_options(getattr(self.module, name), self.options)

    def __reduce__(self) -> tuple[Callable[..., Functions], tuple[str, Any]]:
        """A guide takes them along to other processes, where the method's module is imported by its name."""
        return _imported, (self.module.__name__, self.options)

    def has(self, name: str) -> bool:
        return hasattr(self.module, name)


def _imported(module: str, options: Any) -> Functions:
    return Functions(importlib.import_module(module), options)


def with_options(function: Callable[..., Any], options: Any) -> Callable[..., Any]:
    """`function` with the keyword `options` filled in, where it takes one of that name."""
    parameters = inspect.signature(function).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return partial(function, options=options) if any_name or "options" in parameters else function


def functions_of(method: Bound) -> Functions:
    """The functions of a bound method."""
    return Functions(method.module, method.options)


def needs_stats(method: Bound) -> bool:
    """Whether a bound method's solver weighs errors by what reaches a layer."""
    return hasattr(method.module, "needs_stats") and bool(method.module.needs_stats(method.options))


class OnLayer:
    """A method on one layer. A convolution of several groups is factorised group by group.

    Ranks are those of one group. Factors of the groups stand one below the other, as grouped convolutions have them.
    """

    def __init__(self, functions: Functions, name: str, layer: nn.Module) -> None:
        self.name, self.layer, self._functions = name, layer, functions
        self.groups = int(getattr(layer, "groups", 1))

    @property
    def layers(self) -> dict[str, nn.Module]:
        return {self.name: self.layer}

    @property
    def weight(self) -> Tensor:
        """(O, I / groups, *k) or (O, I)."""
        return cast(Tensor, self.layer.weight).detach()

    @property
    def shape(self) -> Shape:
        """The shape of one group's weight."""
        O, *rest = self.weight.shape
        return O // self.groups, *rest

    @property
    def largest(self) -> Ranks:
        """The largest useful ranks."""
        return tuple(self._functions.largest_ranks(self.shape))

    def useful(self, ranks: Ranks) -> Ranks:
        """What the method really takes of `ranks`."""
        return tuple(self._functions.useful_ranks(self.shape, ranks)) if self._functions.has("useful_ranks") else ranks

    def count(self, ranks: Ranks) -> int:
        """Number of weights at `ranks`, bias apart."""
        return self.groups * int(self._functions.count(self.shape, ranks))

    def macs(self, ranks: Ranks, sizes: Mapping[str, Sequence[Sizes]]) -> int:
        """Multiply-accumulates for one picture, with the sizes of what enters and leaves the layer."""
        return sum(self.groups * self._macs_of_group(ranks, size) for size in sizes.get(self.name, ()))

    def _macs_of_group(self, ranks: Ranks, size: Sizes) -> int:
        inp, _ = size
        return _places(self.layer, inp) * int(self._functions.macs(self.shape, ranks, pixels_of(self.layer, inp[2:])))

    def factorise(
        self, ranks: Ranks, *, seed: int, stats: Stats | None = None, start: Factors | None = None
    ) -> Factors:
        """Factors of the weight, those of all groups below one another."""
        parts = []
        for group, weight in enumerate(self.weight.chunk(self.groups)):
            begin = None if start is None else tuple(factor.chunk(self.groups)[group] for factor in start)
            own = None if stats is None else _stats_of(stats, group, self.groups)
            parts.append(self._functions.factorise(weight, ranks, seed=seed, stats=own, start=begin))
        return tuple(torch.cat(factors) for factors in zip(*parts, strict=True)) if self.groups > 1 else parts[0]

    def regauged(self, factors: Factors, kind: gauge.Kind) -> Factors:
        """The same weight from factors in another gauge. Raises NotApplicable where the format has no such gauge."""
        if kind == "raw" or len(factors) == 1:
            return factors
        if not _is_chain(self._functions.layer(factors, self.layer), len(factors)):
            return _spread(factors, kind)
        channels = self.shape[1]
        parts = [gauge.regauge(part, kind, channels=channels) for part in self._by_group(factors)]
        return tuple(torch.cat(same) for same in zip(*parts, strict=True)) if self.groups > 1 else parts[0]

    def rescaled(self, factors: Factors) -> Factors:
        """Factors of a weight with the norm of the layer's, so that its entries keep their variance."""
        norm, reached = self.weight.double().norm(), self.dense(factors).double().norm()
        return (*factors[:-1], factors[-1] * (norm / reached).to(self.weight.dtype)) if reached > 0 else factors

    @property
    def sparse(self) -> bool:
        """Whether weights are set to zero one by one, in a layer that runs as before."""
        return bool(getattr(self._functions.module, "SPARSE", False))

    @property
    def pooled(self) -> bool:
        """Whether a spectrum is that of several matrices together."""
        return self.groups > 1 or bool(getattr(self._functions.module, "POOLED", False))

    def dense(self, factors: Factors) -> Tensor:
        """The weight that the factors stand for."""
        return torch.cat([self._functions.dense(part) for part in self._by_group(factors)])

    def modules(self, factors: Factors) -> dict[str, nn.Module]:
        """Name -> the module that takes the layer's place."""
        return {self.name: self._functions.layer(factors, self.layer)}

    def spectra(self) -> tuple[Tensor, ...]:
        """Singular values (float64, falling) of the unfoldings that each rank cuts, all groups' energies together.

        Raises NotApplicable for a method whose ranks cut no unfolding.
        """
        groups = [_spectra(self._functions, weight) for weight in self.weight.chunk(self.groups)]
        return tuple(torch.stack(same).square().sum(0).sqrt() for same in zip(*groups, strict=True))

    def diagnose(self, factors: Factors) -> dict[str, float]:
        """Further numbers about the factors: the largest of any group."""
        if not self._functions.has("diagnose"):
            return {}
        found = [self._functions.diagnose(part) for part in self._by_group(factors)]
        return {name: max(numbers[name] for numbers in found) for name in found[0]}

    def _by_group(self, factors: Factors) -> list[Factors]:
        return list(zip(*(factor.chunk(self.groups) for factor in factors), strict=True)) if factors else [()]


class OnGroup:
    """A method on several layers of one shape, as one stacked tensor (L, O, I, *k)."""

    groups, sparse, pooled = 1, False, False

    def __init__(self, functions: Functions, name: str, layers: Mapping[str, nn.Module]) -> None:
        self.name, self.layers, self._functions = name, dict(layers), functions

    @property
    def weight(self) -> Tensor:
        """(L, O, I, *k) or (L, O, I)."""
        return torch.stack([cast(Tensor, layer.weight).detach() for layer in self.layers.values()])

    @property
    def shape(self) -> Shape:
        (first, *_) = self.layers.values()
        return len(self.layers), *cast(Tensor, first.weight).shape

    @property
    def largest(self) -> Ranks:
        """The largest useful ranks."""
        return tuple(self._functions.largest_ranks(self.shape))

    def useful(self, ranks: Ranks) -> Ranks:
        """What the method really takes of `ranks`."""
        return tuple(self._functions.useful_ranks(self.shape, ranks)) if self._functions.has("useful_ranks") else ranks

    def count(self, ranks: Ranks) -> int:
        """Number of weights at `ranks`, bias apart, each shared one once."""
        return int(self._functions.count(self.shape, ranks))

    def macs(self, ranks: Ranks, sizes: Mapping[str, Sequence[Sizes]]) -> int:
        """Multiply-accumulates of all the layers for one picture."""
        return sum(
            _places(layer, inp) * int(self._functions.macs(self.shape, ranks, pixels_of(layer, inp[2:])))
            for name, layer in self.layers.items()
            for inp, _ in sizes.get(name, ())
        )

    def factorise(
        self, ranks: Ranks, *, seed: int, stats: Stats | None = None, start: Factors | None = None
    ) -> Factors:
        """Factors of the stacked weights."""
        return cast(Factors, self._functions.factorise(self.weight, ranks, seed=seed, stats=None, start=start))

    def regauged(self, factors: Factors, kind: gauge.Kind) -> Factors:
        """The same weights from factors in another gauge."""
        return factors if kind == "raw" else _spread(factors, kind)

    def rescaled(self, factors: Factors) -> Factors:
        """Factors of weights that each have the norm of their layer's: the first factor has a row for each layer."""
        weights, reached = (stack.double().flatten(1).norm(dim=1) for stack in (self.weight, self.dense(factors)))
        ratios = torch.where(reached > 0, weights / reached, 1.0).to(factors[0].dtype)
        first = factors[0] * ratios.reshape(-1, *(1 for _ in factors[0].shape[1:]))
        return (first, *factors[1:])

    def dense(self, factors: Factors) -> Tensor:
        """The weights that the factors stand for, stacked."""
        return cast(Tensor, self._functions.dense(factors))

    def modules(self, factors: Factors) -> dict[str, nn.Module]:
        """Name -> the module that takes each layer's place; they share parameters."""
        made = self._functions.layers(factors, list(self.layers.values()))
        return dict(zip(self.layers, made, strict=True))

    def spectra(self) -> tuple[Tensor, ...]:
        """As `OnLayer.spectra`, of the stacked tensor."""
        return _spectra(self._functions, self.weight)

    def diagnose(self, factors: Factors) -> dict[str, float]:
        """Further numbers about the factors."""
        return dict(self._functions.diagnose(factors)) if self._functions.has("diagnose") else {}


Applied = OnLayer | OnGroup


def _places(layer: nn.Module, inp: torch.Size) -> int:
    """How often a layer does what it does to one picture: the batch, or all leading dimensions of a linear layer."""
    return inp[:-1].numel() if isinstance(layer, nn.Linear) else inp[0]


def _is_chain(module: nn.Module, length: int) -> bool:
    """Whether the factors are the weights of plain layers one after the other."""
    parts = list(module.children())
    return len(parts) == length and all(isinstance(part, (_ConvNd, nn.Linear)) for part in parts)


def _spread(factors: Factors, kind: gauge.Kind) -> Factors:
    if kind == "orthogonal":
        raise NotApplicable(
            "the orthogonal gauge is that of a chain of plain layers, which this format is not; take balanced or raw"
        )
    return gauge.spread(factors)


def _spectra(functions: Functions, weight: Tensor) -> tuple[Tensor, ...]:
    if not functions.has("unfoldings"):
        raise NotApplicable(
            f"{functions.module.__name__.rpartition('.')[2]}'s ranks cut no unfolding, so it has no spectra to choose "
            f"them from; take a rank such as x4 or net-x4"
        )
    return tuple(torch.linalg.svdvals(matrix) for matrix in functions.unfoldings(weight.double()))


def _stats_of(stats: Stats, group: int, groups: int) -> Stats:
    """The moments of the input channels that one group of a convolution sees."""
    if groups == 1:
        return stats
    side = stats.patches.shape[0] // groups
    own = slice(group * side, (group + 1) * side)
    return Stats(stats.patches[own, own], stats.channels // groups, stats.ridge, stats.digest)
