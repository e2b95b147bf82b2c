"""Which way of using P ranks has the shortest predicted step: for the network as a whole, or layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from torch import nn

from tnbench.core.protocols import Shape
from tnbench.distributed.machine import Machine
from tnbench.distributed.mixed_cuts import Cuts
from tnbench.distributed.predict.network import Network, network_of
from tnbench.distributed.predict.step import Prediction, predict_step
from tnbench.distributed.predict.tensor import cuttable
from tnbench.distributed.sharding.roles import Cut

LAYERS = "layers"
"""Name of the way in which each layer is cut in its own way, or not at all."""

_CUTS: tuple[Cut, ...] = ("rank", "bottleneck", "bottleneck_split")
_SWEEPS = 2


@dataclass(frozen=True)
class Choice:
    """The text of a parallel part, or `LAYERS` with its `cuts`; and what was predicted of every way, or why nothing."""

    text: str
    prediction: Prediction
    others: Mapping[str, Prediction | str]
    cuts: Cuts = field(default_factory=dict)

    def sentence(self) -> str:
        """For a record: what was chosen, and the predicted milliseconds of all ways."""
        known = {text: found for text, found in self.others.items() if isinstance(found, Prediction)}
        ordered = sorted(known, key=lambda text: known[text].seconds)
        seconds = ", ".join(f"{text} {1e3 * known[text].seconds:.4g}" for text in ordered)
        unknown = "".join(f"; not {text}: {why}" for text, why in self.others.items() if isinstance(why, str))
        return f"chosen: {self.text}{_told(self.cuts)}; predicted ms of a step: {seconds}{unknown}"


@dataclass(frozen=True)
class Asked:
    """What a choice is made for: `batch` pictures of `in_shape` (C, H, W) in a step, on `ranks` ranks.

    Each rank has `threads` threads, and a single process `threads_alone`. With `exact`, only ways that train as a
    single process does: BatchNorm's statistics are over the whole batch, and there is no pipeline for it. With
    `whole_weights`, only ways that leave the whole network on each process; with `compiled`, only those whose layers
    no other process has a part in.
    """

    in_shape: Shape
    batch: int
    ranks: int
    threads: int
    threads_alone: int
    exact: bool = False
    whole_weights: bool = False
    compiled: bool = False


def choose(model: nn.Module, asked: Asked, machine: Machine) -> Choice:
    """The way with the shortest predicted step; of equals the first, single before all others.

    Ways are one process, its threads, and, as far as the training bears them, `ranks` ranks by each backend, and
    `LAYERS`.
    """
    network = network_of(model, asked.in_shape)
    found: dict[str, Prediction | str] = {
        text: predict_step(
            model,
            asked.in_shape,
            asked.batch,
            text,
            machine,
            threads=asked.threads_alone if text == "single" else asked.threads,
            network=network,
        )
        for text in ways(network, asked)
    }
    cuts = {} if asked.whole_weights or asked.compiled else choose_cuts(network, asked, machine)
    if len(set(cuts.values())) > 1 or (cuts and set(cuts) != set(network.chains)):
        found[LAYERS] = _predicted(network, asked, machine, cuts)
    known = {text: each for text, each in found.items() if isinstance(each, Prediction)}
    best = min(known, key=lambda text: known[text].seconds)
    return Choice(best, known[best], found, cuts if best == LAYERS else {})


def ways(network: Network, asked: Asked) -> Sequence[str]:
    """Parallel parts that are looked at."""
    synchronised = "[bn=sync]" if asked.exact and network.norms else ""
    names = [f"ddp{synchronised}"]
    if not (asked.whole_weights or asked.compiled):
        names += [f"fsdp{synchronised}", "rank_tp", "bottleneck_tp", "bottleneck_tp[core=split]"]
        names += [] if asked.exact and network.norms else ["pipeline"]
    names += [] if asked.compiled else ["spatial"]
    return ["single", *(f"{name}:{asked.ranks}" for name in ("threads", *names))]


def choose_cuts(network: Network, asked: Asked, machine: Machine) -> Cuts:
    """For each chain of factors the cut, or none, that makes the predicted step shortest, the others being given.

    It starts from no cut and from each single cut of all layers, and changes one layer at a time while that pays: a
    local optimum, since what is joined between layers depends on both of its neighbours.
    """
    possible = {cut: cuttable(network, asked.ranks, cut) for cut in _CUTS}
    starts: list[dict[str, Cut]] = [{}, *(dict.fromkeys(names, cut) for cut, names in possible.items())]
    found = [_improved(start, possible, network, asked, machine) for start in starts]
    return min(found, key=lambda each: each[0])[1]


def _improved(
    cuts: dict[str, Cut], possible: Mapping[Cut, Sequence[str]], network: Network, asked: Asked, machine: Machine
) -> tuple[float, Cuts]:
    """Seconds and cuts after sweeps over the layers."""
    best = _seconds(network, asked, machine, cuts)
    for _ in range(_SWEEPS):
        before = best
        for name in dict.fromkeys(chain.from_iterable(possible.values())):
            rest = {other: cut for other, cut in cuts.items() if other != name}
            for trial in (rest, *({**rest, name: cut} for cut, names in possible.items() if name in names)):
                seconds = _seconds(network, asked, machine, trial)
                if seconds < best:
                    best, cuts = seconds, trial
        if best == before:
            break
    return best, cuts


def _seconds(network: Network, asked: Asked, machine: Machine, cuts: Cuts) -> float:
    found = _predicted(network, asked, machine, cuts)
    return found.seconds if isinstance(found, Prediction) else float("inf")


def _predicted(network: Network, asked: Asked, machine: Machine, cuts: Cuts) -> Prediction | str:
    return predict_step(
        network.model,
        asked.in_shape,
        asked.batch,
        f"rank_tp:{asked.ranks}" if cuts else "single",
        machine,
        threads=asked.threads,
        network=network,
        cuts=cuts,
    )


def _told(cuts: Cuts) -> str:
    if not cuts:
        return ""
    names = {cut: [name for name, own in cuts.items() if own == cut] for cut in _CUTS}
    told = "; ".join(f"{cut}: {', '.join(own)}" for cut, own in names.items() if own)
    return f" ({told}; the rest whole on each rank)"
