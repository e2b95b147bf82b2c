"""A network cut into stages: what each computes, what crosses, and which rank has which weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tnbench.core.errors import NotApplicable
from tnbench.distributed.pipeline.cuts import chosen_cuts
from tnbench.distributed.pipeline.trace import Operation, operations, traced

_PICTURES = 2
"""That the network is run on to see what crosses: more than one, so that their side shows."""


@dataclass(frozen=True)
class TensorKind:
    """Sizes and type of a tensor that ranks exchange, apart from the side of the pictures."""

    sides: tuple[int, ...]
    dtype: torch.dtype

    def empty(self, pictures: int, device: torch.device) -> Tensor:
        """Zeros to be filled with what another rank sends."""
        return torch.zeros(pictures, *self.sides, dtype=self.dtype, device=device)


@dataclass(frozen=True)
class Split:
    """`last` and `names` say after which operations the stages end, and which operations those were.

    `leaves` is what each stage gives where nothing is cast, and `macs` its multiply-accumulates per picture, `owners`
    the stage that has each tensor of the state dict, and `kinds` those tensors as they were.
    """

    last: tuple[int, ...]
    names: tuple[str, ...]
    leaves: tuple[TensorKind, ...]
    owners: dict[str, int]
    kinds: dict[str, TensorKind]
    macs: tuple[int, ...]


def split(model: nn.Module, pictures: Tensor, stages: int) -> Split:
    """Cut `model` into `stages` for `pictures` like these. The same on every rank, as the network is.

    Raises NotApplicable where it cannot be cut so often, or its code cannot be followed.
    """
    graph = traced(model)
    found = operations(graph, pictures[:1].expand(_PICTURES, *pictures.shape[1:]))
    _check_scores(found[-1])
    cuts = chosen_cuts(found, stages, _PICTURES)
    last = (*(cut.after for cut in cuts), len(found) - 2)
    by_name = {operation.node.name: operation for operation in found}
    leaving = [*(by_name[cut.value].given for cut in cuts), found[-1].given]
    names = tuple(operation.node.name for operation in found)
    starts = [0, *(end + 1 for end in last[:-1])]
    return Split(
        last,
        names,
        tuple(TensorKind(tuple(value.shape[1:]), value.dtype) for value in leaving),
        _owners(model, found, starts),
        {name: TensorKind(tuple(value.shape), value.dtype) for name, value in model.state_dict().items()},
        tuple(
            sum(operation.macs for operation in found[start : end + 1]) // _PICTURES
            for start, end in zip(starts, last, strict=True)
        ),
    )


def stage_of(model: nn.Module, made: Split, stage: int) -> nn.Module:
    """The operations of one stage in the present mode of `model`, whose layers it uses."""
    graph = traced(model)
    nodes = list(graph.graph.nodes)
    if tuple(node.name for node in nodes) != made.names:
        raise NotApplicable(
            "the network takes other operations in training than in evaluation, so that no stages serve both; "
            "take ddp or fsdp instead"
        )
    first = made.last[stage - 1] + 1 if stage else 0
    return _part(graph, nodes, first, made.last[stage])


def _part(graph: fx.GraphModule, nodes: Sequence[fx.Node], first: int, last: int) -> fx.GraphModule:
    """The nodes from `first` to `last` as a network of what enters them."""
    part, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    inside = nodes[first : last + 1]
    if first:
        (entering,) = {source for node in nodes[first:] for source in node.all_input_nodes if source in nodes[:first]}
        copies[entering] = part.placeholder("entering")
    for node in inside:
        copies[node] = part.node_copy(node, copies.__getitem__)
    known = [*copies]
    (leaving,) = {source for node in nodes[last + 1 :] for source in node.all_input_nodes if source in known}
    part.output(copies[leaving])
    return fx.GraphModule(graph, part)


def _owners(model: nn.Module, found: Sequence[Operation], starts: Sequence[int]) -> dict[str, int]:
    """The stage that uses each tensor of the state dict; the first one where none does."""
    stages = {
        str(operation.node.target): sum(place >= start for start in starts) - 1
        for place, operation in enumerate(found)
        if operation.node.op in ("call_module", "get_attr")
    }
    named = model.state_dict(keep_vars=True)
    by_tensor = {
        id(value): stage
        for name, value in named.items()
        for target, stage in stages.items()
        if name == target or name.startswith(f"{target}.")
    }
    return {name: by_tensor.get(id(value), 0) for name, value in named.items()}


def _check_scores(output: Operation) -> None:
    if not isinstance(output.given, Tensor) or output.given.ndim != 2:
        raise NotApplicable("the network gives something else than scores (N, classes), which no last stage can send")
