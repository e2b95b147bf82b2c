"""Predicted steps on 8, 64 and 1,024 GPUs, from stated assumptions: the tables of docs/scaling.md.

    python -m benchmarks.scaling_tables [--models resnet18 vgg16] [--volumes]

Nothing is measured here. Seconds come from `tnbench.distributed.predict` on `H100_NODES`, a machine whose numbers are
assumptions. Compressed networks have the shapes of tucker2/x4 and no solved factors, which a time does not depend on.
`--volumes` holds the predicted words against those that rank 0 of a fake process group counts.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from tnbench import compress
from tnbench.core.errors import NotApplicable
from tnbench.core.grammar import parse_part
from tnbench.core.registry import Registry
from tnbench.distributed.collectives import Call
from tnbench.distributed.cost import ALGORITHMS, modelled_seconds
from tnbench.distributed.fake import counted_step
from tnbench.distributed.machine import Link, Machine, Rate
from tnbench.distributed.predict.network import Network, network_of
from tnbench.distributed.predict.share import UPDATE_WORDS
from tnbench.distributed.predict.step import Prediction, predict_step

IN_SHAPE, CLASSES = (3, 224, 224), 1000
RANKS = (8, 64, 1024)
WORD_BYTES = 4

PEAK, ATTAINED = 494e12, 0.4
MEMORY, NVLINK, NETWORK = 0.8 * 3.35e12, 0.8 * 450e9, 0.8 * 50e9
ALPHA_INSIDE, ALPHA_BETWEEN, LAUNCH = 5e-6, 10e-6, 4e-6
CHECKPOINT_S, FAILURE_HOURS = 60.0, 54 * 24 * 16_384 / 419
"""Of one GPU, as 419 interruptions of 16,384 GPUs in 54 days give it (arXiv:2407.21783)."""
ASSUMPTIONS = (
    f"{PEAK / 1e12:.0f} TFLOP/s of multiplications (H100 SXM, TF32, dense), of which layers attain {ATTAINED:.0%}, or "
    f"what memory allows at c·k/4 FLOPs a byte for c channels and k kernel positions, where that is less",
    f"memory at {MEMORY / 1e12:.2f} TB/s, so that no pass through a layer takes less than reading its weights, and the "
    f"backward one twice that; {LAUNCH * 1e6:.0f} µs to start an operation",
    f"nodes of 8: {NVLINK / 1e9:.0f} GB/s and {ALPHA_INSIDE * 1e6:.0f} µs a message inside; between nodes "
    f"{NETWORK / 1e9:.0f} GB/s a GPU and {ALPHA_BETWEEN * 1e6:.0f} µs",
    "words of 4 bytes; gradients are sent beside the backward pass, for nothing but what is left after it; "
    "an all-reduce goes by the fastest of ring, tree and two levels",
)


def rates() -> Iterator[Rate]:
    """Seconds per FLOP under the two roofs, by channels; a depthwise layer has one channel for each of its own."""
    for kind, positions in (("linear", 1), ("conv1x1", 1), ("conv", 9)):
        for channels in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
            seconds = 1 / min(PEAK * ATTAINED, MEMORY * channels * positions / 4)
            yield Rate(kind, channels, 1, 1, seconds, seconds)
    yield Rate("depthwise", 1, 1, 1, 4 / (9 * MEMORY), 4 / (9 * MEMORY))


H100_NODES = Machine(
    name="assumed: H100 nodes of 8",
    ranks=8,
    threads=1,
    link=Link(ALPHA_INSIDE, WORD_BYTES / NVLINK),
    rates=tuple(rates()),
    delta_s=WORD_BYTES / MEMORY,
    launch_s=LAUNCH,
    between=Link(ALPHA_BETWEEN, WORD_BYTES / NETWORK),
    per_node=8,
    overlaps=True,
)


def main() -> None:
    """Print all tables as Markdown."""
    asked = _arguments()
    if asked.volumes:
        volumes()
        return
    print("Assumed:\n" + "\n".join(f"- {each}" for each in ASSUMPTIONS))
    all_reduces()
    for name in asked.models:
        dense = _network(name)
        for label, model in (("dense", dense), ("tucker2/x4", _compressed(dense))):
            network = network_of(model, IN_SHAPE)
            macs = sum(op.macs for op in network.ops)
            print(f"\n### {name}, {label}: {network.weights / 1e6:.1f} M weights, {macs / 1e9:.2f} GMACs a picture")
            data_parallel(network, asked.batch, asked.per_rank)
            within_a_node(network, asked.small_batch)
            meshes(network, asked.batch)
    failures()


def all_reduces() -> None:
    """Milliseconds of an all-reduce by each algorithm: where rings end."""
    print("\n### An all-reduce, ms\n\n| words | ranks | " + " | ".join(ALGORITHMS) + " |\n|---|---|" + "---|" * 3)
    for words in (1_000_000, 11_700_000, 138_000_000):
        for ranks in RANKS:
            call = Call("all_reduce", words, ranks)
            ms = [1e3 * modelled_seconds(call, H100_NODES, algorithm) for algorithm in ALGORITHMS]
            print(f"| {words:,} | {ranks:,} | " + " | ".join(f"{each:.3f}" for each in ms) + " |")


def data_parallel(network: Network, batch: int, per_rank: int) -> None:
    """Strong scaling of one global batch, and weak scaling with so many pictures on each rank."""
    alone = _seconds(network, batch, "single")
    one_share = _seconds(network, per_rank, "single")
    print(f"\nOne GPU: {_ms(alone)} a step of {batch:,} pictures, {_ms(one_share)} of {per_rank}.\n")
    print(
        "| ranks | ddp, strong | efficiency | fsdp, strong | efficiency | ddp, weak | efficiency | all-reduce alone |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for ranks in RANKS:
        strong, sharded = (_seconds(network, batch, f"{name}:{ranks}") for name in ("ddp", "fsdp"))
        weak = _seconds(network, per_rank * ranks, f"ddp:{ranks}")
        sent = modelled_seconds(Call("all_reduce", network.weights, ranks), H100_NODES)
        cells = [
            _ms(strong),
            f"{alone / ranks / strong:.0%}",
            _ms(sharded),
            f"{alone / ranks / sharded:.0%}",
            _ms(weak),
            f"{one_share / weak:.0%}",
            _ms(sent),
        ]
        print(f"| {ranks:,} | " + " | ".join(cells) + " |")
    print(f"\nWhere it ends: {_wall(network, batch)}.")


def within_a_node(network: Network, batch: int) -> None:
    """What the 8 GPUs of a node make of a small batch, backend by backend."""
    alone = _seconds(network, batch, "single")
    print(f"\n{batch} pictures a step: {_ms(alone)} on one GPU, and on the 8 of a node:\n")
    print("| backend | step | efficiency | computing | waiting | words a rank gives |\n|---|---|---|---|---|---|")
    names = ("ddp", "fsdp", "rank_tp", "bottleneck_tp", "bottleneck_tp[core=split]", "spatial", "pipeline")
    for name in names:
        found = predict_step(network.model, network.in_shape, batch, f"{name}:8", H100_NODES, network=network)
        if isinstance(found, str):
            print(f"| {name}:8 | {found} | | | | |")
            continue
        words = sum(found.words_by_kind.values())
        cells = [_ms(found.seconds), f"{alone / 8 / found.seconds:.0%}"]
        cells += [_ms(found.compute_s), _ms(found.communication_s), f"{words / 1e6:.1f} M"]
        print(f"| {name}:8 | " + " | ".join(cells) + " |")


def meshes(network: Network, batch: int) -> None:
    """Data parallel between nodes, model parallel inside of one."""
    print(f"\n{batch:,} pictures a step on meshes:\n\n| ranks | mesh | step | beside ddp |\n|---|---|---|---|")
    for ranks in RANKS[1:]:
        plain = _seconds(network, batch, f"ddp:{ranks}")
        for inner in ("bottleneck_tp[core=split]", "spatial"):
            text = f"ddp:{ranks // 8}*{inner}:8"
            found = predict_step(network.model, network.in_shape, batch, text, H100_NODES, network=network)
            if isinstance(found, Prediction):
                print(f"| {ranks:,} | {text} | {_ms(found.seconds)} | {plain / found.seconds:.2f} times as fast |")


def failures() -> None:
    """Young's interval between checkpoints, sqrt(2 C M), and the share of time lost, sqrt(2 C / M), at the optimum."""
    print("\n### Failures\n\n| GPUs | hours between failures | checkpoint every | time lost |\n|---|---|---|---|")
    for ranks in RANKS:
        between = FAILURE_HOURS / ranks
        interval, lost = math.sqrt(2 * CHECKPOINT_S / 3600 * between), math.sqrt(2 * CHECKPOINT_S / 3600 / between)
        print(f"| {ranks:,} | {between:,.0f} | {interval:.1f} h | {lost:.1%} |")


def _wall(network: Network, batch: int) -> str:
    """From how many ranks on data parallel loses half of its efficiency, and to what."""
    alone, least = _seconds(network, batch, "single"), _seconds(network, 1, "single")
    for ranks in (2**power for power in range(1, 1 + int(math.log2(batch)))):
        found = predict_step(network.model, network.in_shape, batch, f"ddp:{ranks}", H100_NODES, network=network)
        assert isinstance(found, Prediction), found
        if alone / ranks / found.seconds < 0.5:
            return (
                f"from {ranks:,} ranks on less than half of ddp's time is a share of the work. There a step is "
                f"{_ms(found.seconds)}: {_ms(found.communication_s)} of waiting, and {_ms(found.compute_s)} for "
                f"{batch // ranks} pictures, of which one would take {_ms(least)}: {_ms(_starting(network))} to start "
                f"operations and {_ms(UPDATE_WORDS * network.weights * H100_NODES.delta_s)} to update weights"
            )
    return f"more than half of ddp's time is a share of the work up to one picture a rank ({batch:,} ranks)"


def _starting(network: Network) -> float:
    """Seconds to start the operations of a step: a layer's forward, and backward for its input and for its weights."""
    return LAUNCH * sum(3 if op.macs else 2 for op in network.ops)


def volumes() -> None:
    """Predicted and counted words of a small case at 2, 8 and 64 ranks."""
    torch.manual_seed(0)
    (atom,) = parse_part("model", "resnet20")
    bound = Registry().bind("model", atom)
    dense = bound.module.build("resnet20", bound.options, (3, 32, 32), 10)
    model = compress(dense, "tucker2", "x2").model
    network, batch = network_of(model, (3, 32, 32)), 64
    print("| backend | predicted words | counted words |\n|---|---|---|")
    for name in ("ddp", "fsdp", "rank_tp", "bottleneck_tp", "bottleneck_tp[core=split]"):
        for ranks in (2, 8, 64):
            text = f"{name}:{ranks}"
            print(f"| {text} | {_predicted(network, batch, text)} | {_counted(model, batch, text)} |")


def _predicted(network: Network, batch: int, text: str) -> str:
    found = predict_step(network.model, network.in_shape, batch, text, H100_NODES, network=network)
    return found if isinstance(found, str) else f"{sum(found.words_by_kind.values()):,}"


def _counted(model: nn.Module, batch: int, text: str) -> str:
    (atom,) = parse_part("parallel", text)
    bound = Registry().bind("parallel", atom)
    try:
        return f"{counted_step(model, (3, 32, 32), batch, bound.module, atom.count or 1, bound.options).words:,}"
    except NotApplicable:
        return "the plug-in declines"


def _seconds(network: Network, batch: int, text: str) -> float:
    found = predict_step(network.model, network.in_shape, batch, text, H100_NODES, network=network)
    assert isinstance(found, Prediction), found
    return found.seconds


def _network(name: str) -> nn.Module:
    (atom,) = parse_part("model", f"tv[{name}]")
    bound = Registry().bind("model", atom)
    network: nn.Module = bound.module.build(atom.name, bound.options, IN_SHAPE, CLASSES)
    return network


def _compressed(dense: nn.Module) -> nn.Module:
    """The shapes of tucker2/x4, with factors that nobody solved for."""
    registry = Registry([Path(__file__).with_name("tucker2_shapes.py")])
    return compress(dense, "tucker2_shapes", "x4", gauge="raw", registry=registry).model


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "vgg16"], help="torchvision's names")
    parser.add_argument("--batch", type=int, default=2048, help="global batch of strong scaling")
    parser.add_argument("--per-rank", type=int, default=32, help="pictures a rank of weak scaling")
    parser.add_argument("--small-batch", type=int, default=8, help="global batch inside a node")
    parser.add_argument(
        "--volumes", action="store_true", help="hold words against counted ones, and print nothing else"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
