"""Where a network is cut into stages: one tensor crosses each cut, and the largest stage has the least work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor, fx

from tnbench.core.errors import NotApplicable
from tnbench.distributed.pipeline.trace import Operation


class PipelineCut(NamedTuple):
    """After operation number `after`, where `value` is all that goes on; `words` of it per picture."""

    after: int
    value: str
    words: int


def possible_cuts(found: Sequence[Operation], pictures: int) -> list[PipelineCut]:
    """Every place where nothing but one tensor with a side of `pictures` crosses, and no weights are needed after."""
    last_use = {operation.node: _last_use(operation.node, found) for operation in found}
    last_of_weights = _last_use_of_weights(found)
    cuts = []
    for place in range(1, len(found) - 2):  # after the pictures came in, before the last operation and the output
        crossing = [operation for operation in found[: place + 1] if last_use[operation.node] > place]
        whole = all(first > place or last <= place for first, last in last_of_weights)
        if whole and len(crossing) == 1 and _is_batch(crossing[0], pictures):
            cuts.append(PipelineCut(place, crossing[0].node.name, crossing[0].given.numel() // pictures))
    return cuts


def chosen_cuts(found: Sequence[Operation], stages: int, pictures: int) -> list[PipelineCut]:
    """The `stages` - 1 cuts whose largest stage has the fewest multiply-accumulates, then few words that cross.

    Each stage has some work. Raises NotApplicable where there are not as many cuts.
    """
    cuts = possible_cuts(found, pictures)
    done = list(accumulate(operation.macs for operation in found))
    most = _most_stages(done, cuts)
    if most < stages:
        raise NotApplicable(
            f"got {stages} stages for a network that can be cut into {most} with some work each, where one tensor "
            f"crosses and no weights are shared; wanted at most pipeline:{most}"
        )

    @cache
    def best(first: int, left: int) -> tuple[int, int, tuple[PipelineCut, ...]]:
        """Of the stages that begin with operation `first`: the largest one's work, the words, the cuts."""
        before = done[first - 1] if first else 0
        if left == 1:
            return done[-1] - before, 0, ()
        options = []
        for cut in cuts:
            work = done[cut.after] - before
            if cut.after >= first and work and _most_stages(done, cuts, cut.after + 1) >= left - 1:
                largest, words, others = best(cut.after + 1, left - 1)
                options.append((max(work, largest), words + cut.words, (cut, *others)))
        return min(options)

    return list(best(0, stages)[2])


def _most_stages(done: Sequence[int], cuts: Sequence[PipelineCut], first: int = 0) -> int:
    """How many stages with some work the operations from `first` on can make."""
    stages, begun = 0, done[first - 1] if first else 0
    for end in [*(cut.after for cut in cuts if cut.after >= first), len(done) - 1]:
        if done[end] > begun:
            stages, begun = stages + 1, done[end]
    return stages


def _last_use(node: fx.Node, found: Sequence[Operation]) -> int:
    places = {operation.node: place for place, operation in enumerate(found)}
    return max((places[user] for user in node.users), default=-1)


def _last_use_of_weights(found: Sequence[Operation]) -> list[tuple[int, int]]:
    """For each tensor of the network's the first and the last operation that reads it."""
    spans: dict[int, tuple[int, int]] = {}
    for place, operation in enumerate(found):
        for values in _weights(operation.node):
            spans[id(values)] = spans.get(id(values), (place, place))[0], place
    return list(spans.values())


def _weights(node: fx.Node) -> list[Tensor]:
    owner = node.graph.owning_module
    assert owner is not None
    if node.op == "call_module":
        return list(owner.get_submodule(str(node.target)).parameters())
    if node.op == "get_attr":
        prefix, _, name = str(node.target).rpartition(".")
        return [getattr(owner.get_submodule(prefix), name)]
    return []


def _is_batch(operation: Operation, pictures: int) -> bool:
    return isinstance(operation.given, Tensor) and operation.given.ndim > 0 and len(operation.given) == pictures
