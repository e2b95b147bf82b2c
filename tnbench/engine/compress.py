"""Compress a network: choose ranks, factorise each layer's weight, swap the layers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.protocols import Candidate, Factors, KeepDense, Ranks
from tnbench.core.registry import Bound, Registry
from tnbench.engine.candidates import compressible_layers as compressible_layers
from tnbench.engine.candidates import first_and_last as first_and_last
from tnbench.engine.candidates import reasons_to_stay
from tnbench.engine.summary import LayerSummary as LayerSummary
from tnbench.engine.summary import Summary as Summary
from tnbench.measure.counts import count_params


class Swapped(NamedTuple):
    """A network whose layers were swapped for factors, before it is asked how close those are to the weights."""

    model: nn.Module
    ranks: Mapping[str, Ranks]
    factors: Mapping[str, Factors]
    notes: Mapping[str, str]


class Compression(NamedTuple):
    """A compressed copy of a network, and what became of each layer."""

    model: nn.Module
    summary: Summary


def compress(
    model: nn.Module,
    method: str = "tucker2",
    rank: str = "x4",
    *,
    skip: str | Sequence[str] = (),
    only: str | Sequence[str] | None = None,
    seed: int = 0,
    registry: Registry | None = None,
) -> Compression:
    """A compressed copy of `model`, with a summary that prints well. `model` itself is left as it was.

    `method` and `rank` are written as in a case, options included: ``"cp[iters=50]"``, ``"x4"``. The first and the
    last layer stay dense, and so do layers whose names match `skip` (``"layer4.*"``); with `only`, exactly the layers
    that match it are compressed, whether first, last or between.

    >>> small = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 10))
    >>> compress(small, "tucker2", "x2").summary.layers[1].ranks
    (9, 9)

    Raises UsageError for a name, option or glob that means nothing, and NotApplicable where nothing can be compressed.
    """
    registry = registry or Registry()
    policy = registry.bind("rank", _atom("rank", rank))
    policy.module.check(policy.atom.name)
    return compress_network(
        model,
        registry.bind("method", _atom("method", method)),
        policy,
        keep=first_and_last(model),
        skip=_listed(skip),
        only=None if only is None else _listed(only),
        seed=seed,
    )


def compress_network(
    model: nn.Module,
    method: Bound,
    policy: Bound,
    *,
    keep: Sequence[str],
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
    seed: int = 0,
    rescale: bool = False,
) -> Compression:
    """A compressed copy of `model`, on its device, in its dtype and its modes.

    `keep` names the layers that stay dense unless `only` is given; `skip` and `only` are globs of names. `rescale`
    gives each layer's reconstruction the norm of its dense weight, for training from scratch.

    Raises NotApplicable where no layer can be compressed, where a weight is not finite, or where method and rank do
    not go together.
    """
    swapped = swap_layers(model, method, policy, keep=keep, skip=skip, only=only, seed=seed, rescale=rescale)
    return Compression(swapped.model, summarise(model, swapped, method))


def swap_layers(
    model: nn.Module,
    method: Bound,
    policy: Bound,
    *,
    keep: Sequence[str],
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
    seed: int = 0,
    rescale: bool = False,
) -> Swapped:
    """The work of `compress_network`: choose ranks, factorise, swap. Arguments and errors are the same."""
    check_pair(method, policy)
    layers = compressible_layers(model)
    notes = reasons_to_stay(layers, method.module, keep, skip, only)
    ranks = _choose_ranks({name: layer for name, layer in layers.items() if name not in notes}, method, policy, notes)
    if not ranks and method.atom.name != "dense":
        why = "; ".join(f"{name!r}: {note}" for name, note in notes.items()) or "the network has none"
        raise NotApplicable(f"{method.atom} at {policy.atom} compresses no layer ({why})")
    compressed, factors = copy.deepcopy(model), {}
    for name in ranks:
        try:
            factors[name] = _factorise(layers[name], ranks[name], method, seed, rescale)
        except NotApplicable as refusal:
            raise NotApplicable(f"layer {name!r}: {refusal}") from None
        compressed = _replaced(compressed, name, method.module.layer(factors[name], layers[name]))
    return Swapped(compressed, ranks, factors, notes)


def summarise(model: nn.Module, swapped: Swapped, method: Bound) -> Summary:
    """What became of each layer of `model`, and how far its factors are from its weight."""
    layers = tuple(_summarise(name, layer, swapped, method) for name, layer in compressible_layers(model).items())
    return Summary(layers, count_params(model), count_params(swapped.model))


def check_pair(method: Bound, policy: Bound) -> None:
    """Raise NotApplicable unless the dense method has the rank `full`, or neither is asked for."""
    if (method.atom.name == "dense") != (policy.atom.name == "full"):
        raise NotApplicable(
            f"method {method.atom} with rank {policy.atom}: full is dense's rank and its only one; "
            f"take dense/full, or another method with a rank such as x4"
        )


class _Weights:
    """The probe that rank policies are given."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = layers

    def weight(self, name: str) -> Tensor:
        return _weight(self._layers[name])


def _atom(axis: str, text: str) -> Atom:
    if not isinstance(text, str):
        raise UsageError(f"{axis}: got {text!r}, wanted text as in a case, such as 'tucker2' or 'x4'")
    atoms = parse_part(axis, text)
    if len(atoms) > 1:
        raise UsageError(f"{axis}: got the mixture {text!r}, wanted one {axis}; mixtures are not served yet")
    return atoms[0]


def _listed(globs: str | Sequence[str]) -> Sequence[str]:
    return (globs,) if isinstance(globs, str) else globs


def _weight(layer: nn.Module) -> Tensor:
    return cast(Tensor, layer.weight).detach()


def _choose_ranks(
    layers: Mapping[str, nn.Module], method: Bound, policy: Bound, notes: dict[str, str]
) -> dict[str, Ranks]:
    """Name -> ranks of the layers that are to be compressed; `notes` gets the reasons of those that are not."""
    candidates = [_candidate(name, layer, method) for name, layer in layers.items()]
    choices = policy.module.choose(policy.atom.name, policy.options, candidates, _Weights(layers))
    ranks: dict[str, Ranks] = {}
    for candidate, choice in zip(candidates, choices, strict=True):
        if isinstance(choice, KeepDense):
            notes[candidate.name] = choice.reason
        else:
            ranks[candidate.name] = _useful(method, candidate, choice)
    return ranks


def _candidate(name: str, layer: nn.Module, method: Bound) -> Candidate:
    weight = _weight(layer)
    shape = tuple(weight.shape)
    if not torch.isfinite(weight).all():
        raise NotApplicable(f"layer {name!r} has weights that are not finite; retrain the network or skip the layer")
    largest = method.module.largest_ranks(shape)
    return Candidate(name, shape, weight.numel(), largest, partial(method.module.count, shape))


def _useful(method: Bound, candidate: Candidate, ranks: Ranks) -> Ranks:
    """What the method really takes of `ranks`, where it says so by the optional function `useful_ranks`."""
    useful_ranks = getattr(method.module, "useful_ranks", lambda shape, ranks: ranks)
    return cast(Ranks, useful_ranks(candidate.shape, ranks))


def _factorise(layer: nn.Module, ranks: Ranks, method: Bound, seed: int, rescale: bool) -> Factors:
    weight = _weight(layer)
    factors: Factors = method.module.factorise(weight, ranks, seed=seed, options=method.options)
    if not rescale:
        return factors
    norm, reached = weight.double().norm(), method.module.dense(factors).double().norm()
    return (*factors[:-1], factors[-1] * (norm / reached).to(weight.dtype)) if reached > 0 else factors


def _replaced(model: nn.Module, name: str, new: nn.Module) -> nn.Module:
    """The model with `new` in every place of the layer `name`, which may stand in several or be the model itself."""
    old = model.get_submodule(name)
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
    return new if model is old else model


def _summarise(name: str, layer: nn.Module, swapped: Swapped, method: Bound) -> LayerSummary:
    weight = _weight(layer)
    kind, shape = "linear" if isinstance(layer, nn.Linear) else "conv", tuple(weight.shape)
    ranks, norm = swapped.ranks.get(name, ()), float(weight.double().norm())
    factors, params, error = swapped.factors.get(name), weight.numel(), None
    if factors is not None:
        params = method.module.count(shape, ranks)
        distance = float(torch.dist(weight.double(), method.module.dense(factors).double()))
        error = distance / norm if norm > 0 else distance
    return LayerSummary(name, kind, shape, ranks, weight.numel(), params, error, swapped.notes.get(name, ""), norm)
