"""Compress a network: choose ranks, factorise each layer's weight, swap the layers."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable, UsageError, unknown
from tnbench.core.grammar import Atom, parse_part
from tnbench.core.protocols import Candidate, Factors, KeepDense, Ranks, Shape, Stats
from tnbench.core.registry import Bound, Registry
from tnbench.engine.applied import Applied, OnGroup, OnLayer, functions_of, needs_stats
from tnbench.engine.calibration import Calibration, patch_stats
from tnbench.engine.candidates import assign, compressible_layers, first_and_last
from tnbench.engine.conditions import Conditions
from tnbench.engine.narrow import narrow
from tnbench.engine.probe import Probe
from tnbench.engine.replaced import replaced
from tnbench.engine.summarise import summarise
from tnbench.engine.summary import LayerSummary as LayerSummary
from tnbench.engine.summary import Summary as Summary
from tnbench.engine.swapped import Swapped
from tnbench.layers.gauge import Kind


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
    gauge: Kind = "balanced",
    in_shape: Shape | None = None,
    calibration: Tensor | None = None,
    registry: Registry | None = None,
) -> Compression:
    """A compressed copy of `model`, with a summary that prints well. `model` itself is left as it was.

    `method` and `rank` are written as in a case, options and mixtures included: ``"cp[iters=50]"``,
    ``"tucker2+tt_linear"``, ``"x4"``. The first and the last layer stay dense, and so do layers whose names match
    `skip` (``"layer4.*"``); with `only`, exactly the layers that match it are compressed, whether first, last or
    between. `in_shape` (C, H, W) is needed by ranks that look at operations or times, `calibration` (normalised
    pictures (N, C, H, W)) by data-aware solvers; see `tnbench.layers.gauge` for `gauge`.

    >>> small = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 10))
    >>> compress(small, "tucker2", "x2").summary.layers[1].ranks
    (9, 9)

    Raises UsageError for a name, option or glob that means nothing, and NotApplicable where nothing can be compressed.
    """
    _check_given(model, gauge, in_shape)
    registry = registry or Registry()
    (policy_atom,) = _atoms("rank", rank, most=1)
    policy = registry.bind("rank", policy_atom)
    policy.module.check(policy.atom.name)
    conditions = Conditions(
        keep=first_and_last(model),
        skip=_listed(skip),
        only=None if only is None else _listed(only),
        seed=seed,
        gauge=gauge,
        in_shape=in_shape,
        calibration=None if calibration is None else _calibration(calibration),
    )
    methods = [registry.bind("method", atom) for atom in _atoms("method", method)]
    return compress_network(model, methods, policy, conditions)


def compress_network(model: nn.Module, methods: Sequence[Bound], policy: Bound, conditions: Conditions) -> Compression:
    """A compressed copy of `model`, on its device, in its dtype and its modes. Several `methods` are a mixture.

    Raises NotApplicable where no layer can be compressed, where a weight is not finite, or where method and rank do
    not go together.
    """
    swapped = swap_layers(model, methods, policy, conditions)
    return Compression(swapped.model, summarise(model, swapped))


def swap_layers(model: nn.Module, methods: Sequence[Bound], policy: Bound, conditions: Conditions) -> Swapped:
    """The work of `compress_network`: choose ranks, factorise, swap. Arguments and errors are the same."""
    check_pair(methods, policy)
    if any(method.scope == "network" for method in methods):
        return narrow(model, methods, policy, conditions)
    layers = compressible_layers(model)
    assigned, notes = assign(layers, methods, conditions.keep, conditions.skip, conditions.only)
    targets = _targets(layers, assigned, methods)
    aware = {name for name, method in assigned.items() if needs_stats(method)}
    if conditions.ranks is None:
        ranks = _choose_ranks(model, targets, policy, conditions, aware, notes)
    else:
        ranks = _given_ranks(targets, conditions.ranks, notes)
    if not ranks and methods[0].atom.name != "dense":
        why = "; ".join(f"{name!r}: {note}" for name, note in notes.items()) or "the network has none"
        raise NotApplicable(f"{_joined(methods)} at {policy.atom} compresses no layer ({why})")
    compressed, factors = _swap(model, targets, ranks, conditions, aware)
    return Swapped(compressed, targets, ranks, factors, notes, assigned, str(policy.atom))


def check_pair(methods: Sequence[Bound], policy: Bound) -> None:
    """Raise NotApplicable unless the dense method has the rank `full`, or neither is asked for."""
    names = [method.atom.name for method in methods]
    if len(names) > 1 and "dense" in names:
        raise NotApplicable(f"{_joined(methods)}: dense has no part in a mixture; leave layers out by skip or only")
    if (names == ["dense"]) != (policy.atom.name == "full"):
        raise NotApplicable(
            f"method {_joined(methods)} with rank {policy.atom}: full is dense's rank and its only one; "
            f"take dense/full, or another method with a rank such as x4"
        )


def _joined(methods: Sequence[Bound]) -> str:
    return "+".join(str(method.atom) for method in methods)


def _atoms(axis: str, text: str, most: int | None = None) -> tuple[Atom, ...]:
    if not isinstance(text, str):
        raise UsageError(f"{axis}: got {text!r}, wanted text as in a case, such as 'tucker2' or 'x4'")
    atoms = parse_part(axis, text)
    if most is not None and len(atoms) > most:
        raise UsageError(f"{axis}: got the mixture {text!r}, wanted one {axis}; only methods can be mixed")
    return atoms


def _check_given(model: object, gauge: str, in_shape: object) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"model: got a {type(model).__name__}, wanted a torch.nn.Module, the network itself")
    if gauge not in get_args(Kind):
        raise UsageError(unknown("gauge", str(gauge), get_args(Kind)))
    sides = in_shape if isinstance(in_shape, tuple | list) else ()
    if in_shape is not None and not (sides and all(type(side) is int and side > 0 for side in sides)):
        raise UsageError(f"in_shape: got {in_shape!r}, wanted the sides of one picture, such as (3, 32, 32)")


def _listed(globs: str | Sequence[str]) -> Sequence[str]:
    return (globs,) if isinstance(globs, str) else globs


def _calibration(pictures: Tensor) -> Calibration:
    plain = pictures.detach().cpu().contiguous().view(torch.uint8)
    digest = hashlib.sha256(plain.numpy().tobytes()).hexdigest()[:16]
    return Calibration(pictures.detach(), digest)


def _targets(
    layers: Mapping[str, nn.Module], assigned: Mapping[str, Bound], methods: Sequence[Bound]
) -> dict[str, Applied]:
    """Name -> what is factorised at a time, in the order of its first layer."""
    targets: dict[str, Applied] = {}
    for place, method in enumerate(methods, start=1):
        functions = functions_of(method)
        own = {name: layers[name] for name in layers if assigned.get(name) is method}
        if method.scope == "group":
            for group, members in functions.groups(own).items():
                name = group if group not in targets else f"{group}+{place}"
                targets[name] = OnGroup(functions, name, {member: own[member] for member in members})
        else:
            targets |= {name: OnLayer(functions, name, layer) for name, layer in own.items()}
    order = list(layers)
    return dict(sorted(targets.items(), key=lambda item: order.index(next(iter(item[1].layers)))))


def _given_ranks(targets: Mapping[str, Applied], given: Mapping[str, Ranks], notes: dict[str, str]) -> dict[str, Ranks]:
    """As `_choose_ranks`, of ranks that were chosen before."""
    for name in targets.keys() - given.keys():
        notes.update(dict.fromkeys(targets[name].layers, "it stayed dense when the ranks were chosen"))
    return {name: target.useful(given[name]) for name, target in targets.items() if name in given}


def _choose_ranks(
    model: nn.Module,
    targets: Mapping[str, Applied],
    policy: Bound,
    conditions: Conditions,
    aware: set[str],
    notes: dict[str, str],
) -> dict[str, Ranks]:
    """Name -> ranks of what is to be compressed; `notes` gets the reasons of the layers that are not."""
    probe = Probe(
        model,
        targets,
        conditions,
        swapped=lambda choices: _swap(model, targets, choices, conditions, aware)[0],
        stats=lambda name: _stats(model, name, conditions) if name in aware else None,
    )
    candidates = [_candidate(target, probe, conditions) for target in targets.values()]
    choices = policy.module.choose(policy.atom.name, policy.options, candidates, probe)
    ranks: dict[str, Ranks] = {}
    for candidate, choice in zip(candidates, choices, strict=True):
        target = targets[candidate.name]
        if isinstance(choice, KeepDense):
            notes.update(dict.fromkeys(target.layers, choice.reason))
        else:
            ranks[candidate.name] = target.useful(choice)
    return ranks


def _candidate(target: Applied, probe: Probe, conditions: Conditions) -> Candidate:
    for name, layer in target.layers.items():
        if not torch.isfinite(layer.weight).all():  # type: ignore[arg-type]
            raise NotApplicable(
                f"layer {name!r} has weights that are not finite; retrain the network or skip the layer"
            )
    known = conditions.in_shape is not None
    return Candidate(
        target.name,
        tuple(target.weight.shape),
        target.weight.numel(),
        target.largest,
        target.count,
        (lambda ranks: target.macs(ranks, probe.sizes)) if known else None,
        probe.dense_macs(target.name) if known else None,
        target.pooled,
    )


def _swap(
    model: nn.Module,
    targets: Mapping[str, Applied],
    ranks: Mapping[str, Ranks],
    conditions: Conditions,
    aware: set[str],
) -> tuple[nn.Module, dict[str, Factors]]:
    compressed, factors = copy.deepcopy(model), {}
    for name in (name for name in targets if name in ranks):
        target = targets[name]
        try:
            stats = _stats(compressed, name, conditions) if name in aware else None
            factors[name] = _factorise(target, ranks[name], conditions, stats)
        except NotApplicable as refusal:
            raise NotApplicable(f"layer {name!r}: {refusal}") from None
        for place, module in target.modules(factors[name]).items():
            compressed = replaced(compressed, place, module)
    return compressed, factors


def _stats(compressed: nn.Module, name: str, conditions: Conditions) -> Stats:
    if conditions.scratch:
        raise NotApplicable("training starts from random weights, whose activations say nothing to a solver")
    if conditions.calibration is None:
        raise NotApplicable("a data-aware solver needs calibration pictures; give compress some by calibration=")
    return patch_stats(compressed, compressed.get_submodule(name), conditions.calibration)


def _factorise(target: Applied, ranks: Ranks, conditions: Conditions, stats: Stats | None) -> Factors:
    factors = target.factorise(ranks, seed=conditions.seed, stats=stats)
    if conditions.scratch:
        factors = target.rescaled(factors)
    return target.regauged(factors, conditions.gauge)
