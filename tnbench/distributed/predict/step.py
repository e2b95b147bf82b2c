"""Predicted seconds of one training step, for a network, a batch and a parallel part of a case, on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

from torch import nn

from tnbench.core.grammar import Atom, format_part, parse_part
from tnbench.core.protocols import Shape
from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import communication_seconds
from tnbench.distributed.machine import Machine
from tnbench.distributed.mixed_cuts import Cuts
from tnbench.distributed.predict.data import (
    batch_norm_calls,
    ddp_calls,
    exposed_seconds,
    fsdp_calls,
    weight_calls,
)
from tnbench.distributed.predict.network import Network, network_of
from tnbench.distributed.predict.share import Part, Share, compute_seconds, passes, words_by_kind
from tnbench.distributed.predict.space import spatial_share
from tnbench.distributed.predict.stages import pipeline_share
from tnbench.distributed.predict.tensor import cut_share, cuttable
from tnbench.distributed.sharding.roles import Cut

WHOLE = ("single", "threads")
DATA = ("ddp", "fsdp")
MODEL = ("rank_tp", "bottleneck_tp", "spatial", "pipeline")
_BUCKET_MB, _MICRO_BATCHES = 25.0, 4
_ANY = None
_MODELLED: Mapping[str, Mapping[str, tuple[str, ...] | None]] = {
    "ddp": {"threads": _ANY, "bucket_mb": _ANY, "compress": ("none",), "zero": _ANY, "bn": _ANY},
    "fsdp": {"threads": _ANY, "bn": _ANY},
    "rank_tp": {"threads": _ANY},
    "bottleneck_tp": {"threads": _ANY, "core": _ANY},
    "spatial": {"threads": _ANY},
    "pipeline": {"threads": _ANY, "microbatches": _ANY},
}
"""Options of plug-ins that the predictions know, and with which values."""


@dataclass(frozen=True)
class Prediction:
    """Of one training step, as one rank sees it.

    `compute_s` and `communication_s` add up to `seconds`. `least_s` is the bound from below with all-reduces of
    gradients beside the backward pass. `words_by_kind` are payload words as counters show them; what goes on the wire
    for them is modelled within `communication_s`.
    """

    seconds: float
    compute_s: float
    communication_s: float
    least_s: float
    words_by_kind: Mapping[str, int]
    calls: tuple[Call, ...] = ()
    notes: tuple[str, ...] = ()


class _Mesh(NamedTuple):
    data: Atom | None
    model: Atom | None
    whole: Atom | None
    data_inside: bool = False
    """Whether the ranks that share a batch are neighbours, as those of the last part of a mesh are."""

    @property
    def ranks(self) -> int:
        return prod(atom.count or 1 for atom in (self.data, self.model) if atom)

    def seen(self, machine: Machine) -> tuple[Machine, Machine]:
        """The machine as groups of the model-parallel part see it, and as those of the data-parallel one do.

        Ranks of the outer part's groups are as far apart as the inner part has ranks.
        """
        data, model = (atom.count or 1 if atom else 1 for atom in (self.data, self.model))
        return (machine.every(data), machine) if self.data_inside else (machine, machine.every(model))


def predict_step(
    model: nn.Module,
    in_shape: Shape,
    batch: int,
    parallel_text: str,
    machine: Machine,
    *,
    threads: int | None = None,
    network: Network | None = None,
    cuts: Cuts | None = None,
) -> Prediction | str:
    """What a step takes for a global `batch` of pictures of `in_shape` (C, H, W), or why nothing is known of it.

    `parallel_text` is written as in a case: ``ddp[bucket_mb=1]:2``, ``bottleneck_tp[core=split]:2``, or a mesh such as
    ``ddp:2*bottleneck_tp:2``, the ranks of whose last part are neighbours. `threads` of a process are the text's option
    or else the machine's, unless told; ``threads:P`` has P. `network` is what `network_of` gives for `model`, for
    whoever asks more than once. With `cuts`, a model-parallel atom cuts exactly these layers so. Loss, augmentation and
    the reading of pictures are not in it.

    Raises UsageError for a text that is no parallel part.
    """
    mesh = _mesh(parse_part("parallel", parallel_text))
    if isinstance(mesh, str):
        return mesh
    network = network_of(model, in_shape) if network is None else network
    groups = mesh.data.count or 1 if mesh.data else 1
    if batch < groups:
        return f"a batch of {batch} pictures cannot be shared by {groups} ranks"
    share = _share(network, -(-batch // groups), mesh.model, cuts)
    if isinstance(share, str):
        return share
    if mesh.data is not None and (mesh.data.name == "fsdp" or _spreads_state(mesh.data)):
        share = replace(share, updated=1 / groups)
    norms = batch_norm_calls(share, network, groups) if mesh.data is not None and _synchronises(mesh.data) else ()
    own = threads or _threads(mesh) or machine.threads
    if mesh.whole is not None and mesh.whole.count:
        own = mesh.whole.count
    return _priced(share, norms, _gradient_calls(network, share, mesh), machine, mesh, own)


def knows(parallel_text: str) -> bool:
    """Whether there are predictions of all plug-ins that the text names, whatever their options."""
    return all(atom.name in (*WHOLE, *DATA, *MODEL) for atom in parse_part("parallel", parallel_text))


def _priced(
    share: Share, norms: tuple[Call, ...], sums: tuple[Call, ...], machine: Machine, mesh: _Mesh, threads: int
) -> Prediction:
    """`norms` and `sums` go over the ranks that share the batch: what a step waits for, and what is for gradients."""
    inner, data = mesh.seen(machine)
    compute = compute_seconds(share, machine, threads, mesh.ranks)
    waits = communication_seconds(share.calls, inner) + communication_seconds(norms, data)
    sends = communication_seconds(sums, data)
    least = compute + waits + _exposed(share, sums, data, mesh, threads)
    seconds = least if machine.overlaps else compute + waits + sends
    calls = (*share.calls, *norms, *sums)
    notes = share.notes
    if sums:
        beside = "is taken to run" if machine.overlaps else "would, on a machine with cores to spare, run"
        notes = (*notes, f"what is sent for gradients {beside} beside the backward pass ({1e3 * least:.3g} ms a step)")
    return Prediction(seconds, compute, seconds - compute, least, words_by_kind(calls), calls, notes)


def _exposed(share: Share, sums: tuple[Call, ...], machine: Machine, mesh: _Mesh, threads: int) -> float:
    """What is waited for at least, of the calls that data-parallel ranks make for gradients."""
    if mesh.data is None or mesh.ranks == 1:
        return communication_seconds(sums, machine)
    each = passes(share, machine, threads, mesh.ranks)
    if mesh.data.name == "fsdp":
        # Gathers of the next block and scatters of the last one run beside a block's own work.
        return max(0.0, communication_seconds(sums, machine) - sum(forward + backward for forward, backward in each))
    gradients = [call for call in sums if call.kind == "all_reduce"]
    others = [call for call in sums if call.kind != "all_reduce"]
    bucket_mb = _bucket_mb(mesh.data)
    return communication_seconds(others, machine) + exposed_seconds(share, each, gradients, bucket_mb, machine)


def _synchronises(atom: Atom) -> bool:
    """Whether BatchNorm's statistics are over the whole batch."""
    return dict(atom.options).get("bn") == "sync"


def _spreads_state(atom: Atom) -> bool:
    """Whether each rank's optimiser moves a part of the weights, which are then sent."""
    return dict(atom.options).get("zero") == "true"


def _threads(mesh: _Mesh) -> int:
    """What the mesh's parts say of threads; 0 where they say nothing."""
    return max((int(dict(atom.options).get("threads", 0)) for atom in (mesh.data, mesh.model) if atom), default=0)


def _bucket_mb(atom: Atom) -> float:
    return float(dict(atom.options).get("bucket_mb", _BUCKET_MB))


def _gradient_calls(network: Network, share: Share, mesh: _Mesh) -> tuple[Call, ...]:
    data = mesh.data
    if data is None or data.count in (None, 1):
        return ()
    assert data.count is not None
    if data.name == "fsdp":
        return fsdp_calls(network.model, data.count)
    sums = ddp_calls(share, network, data.count, _bucket_mb(data), buffers=not _synchronises(data))
    return (*sums, *weight_calls(share, data.count)) if _spreads_state(data) else sums


def _share(network: Network, batch: int, atom: Atom | None, cuts: Cuts | None) -> Share | str:
    if atom is None or atom.count in (None, 1):
        return Share(tuple(Part(op, batch) for op in network.ops))
    assert atom.count is not None
    if atom.name == "spatial":
        return spatial_share(network, batch, atom.count)
    if atom.name == "pipeline":
        micro_batches = int(dict(atom.options).get("microbatches", _MICRO_BATCHES))
        return pipeline_share(network, batch, atom.count, micro_batches)
    if cuts is None:
        cut = cut_of(atom)
        cuts = dict.fromkeys(cuttable(network, atom.count, cut), cut)
    return cut_share(network, batch, atom.count, cuts)


def cut_of(atom: Atom) -> Cut:
    """How a tensor-parallel atom cuts a layer."""
    if atom.name == "rank_tp":
        return "rank"
    return "bottleneck_split" if dict(atom.options).get("core") == "split" else "bottleneck"


def _mesh(atoms: Sequence[Atom]) -> _Mesh | str:
    """At most one data-parallel and one model-parallel atom, or one process; the reason for anything else."""
    for atom in atoms:
        if atom.name not in (*WHOLE, *DATA, *MODEL):
            return f"the cost model knows nothing of {atom.name}; it knows {', '.join((*WHOLE, *DATA, *MODEL))}"
        unknown = _not_modelled(atom)
        if unknown:
            return f"the cost model knows nothing of {atom.name}'s {unknown}; leave it out"
    data, model, whole = ([atom for atom in atoms if atom.name in names] for names in (DATA, MODEL, WHOLE))
    if max(len(data), len(model), len(whole)) > 1 or (whole and (data or model)):
        got = format_part("parallel", atoms)
        return f"the cost model knows meshes of one data-parallel and one model-parallel part, not {got}"
    if data and model and (model[0].name == "pipeline" or data[0].name == "fsdp"):
        return f"the cost model knows no mesh of {data[0].name} and {model[0].name}"
    inside = bool(data and model) and atoms.index(data[0]) > atoms.index(model[0])
    sharing, cutting, alone = (next(iter(found), None) for found in (data, model, whole))
    return _Mesh(sharing, cutting, alone, inside)


def _not_modelled(atom: Atom) -> str:
    """The first option, as it is written, that changes what is sent in a way that nothing here knows of."""
    known = _MODELLED.get(atom.name, {})
    written = ((name, value, known.get(name, ())) for name, value in atom.options)
    return next(
        (f"{name}={value}" for name, value, values in written if values is not None and value not in values), ""
    )
